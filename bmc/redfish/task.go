package redfish

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	taskServicePath = rootPath + "/TaskService"
	tasksPath       = taskServicePath + "/Tasks"
	monitorsPath    = taskServicePath + "/TaskMonitors"
	// maxTasks bounds the tasks that are remembered; the oldest that have ended go first.
	maxTasks = 512
	// maxTaskMessages bounds the messages of one.
	maxTaskMessages = 16
)

// A Task is a request that takes longer than its answer (DSP0266 §15.4). It is safe for
// concurrent use.
type Task struct {
	id, name string
	systems  []string
	target   string
	start    time.Time
	service  *Service

	mu       sync.Mutex // guards the rest
	state    string     // TaskState
	end      time.Time
	percent  int
	messages []Message
	cancel   context.CancelFunc
}

// The states of a task that we use.
const (
	taskRunning   = "Running"
	taskCompleted = "Completed"
	taskException = "Exception"
	taskCancelled = "Cancelled"
)

func (t *Task) path() string    { return tasksPath + "/" + t.id }
func (t *Task) monitor() string { return monitorsPath + "/" + t.id }

// Progress says how much is done, in percent.
func (t *Task) Progress(percent int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.percent = min(max(percent, 0), 100)
}

// Note adds a message for who watches the task.
func (t *Task) Note(m Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.messages) < maxTaskMessages {
		t.messages = append(t.messages, m)
	}
}

// finish says how it ended.
func (t *Task) finish(err error, cancelled bool, now time.Time) (ended string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = now
	switch {
	case err == nil:
		t.state, t.percent = taskCompleted, 100
		t.messages = append(t.messages, msg("Success"))
	case cancelled:
		t.state = taskCancelled
	default:
		t.state = taskException
		t.messages = append(t.messages, refusal(err).Messages...)
	}
	return t.state
}

// tasks are those of this peer.
type tasks struct {
	service *Service
	mu      sync.Mutex // guards the rest
	list    []*Task    // oldest first
	last    int
}

func newTasks(s *Service) *tasks { return &tasks{service: s} }

// Start runs a task for the systems of the request ({system}, or all of the caller's)
// and returns the answer to the client. run gets a context that ends when the task is
// cancelled or the service is closed.
func (r *Request) Start(name string, run func(ctx context.Context, t *Task) error) (*Result, error) {
	systems := r.Caller.Systems()
	if r.System.ID != "" {
		systems = []string{r.System.ID}
	}
	t, err := r.Service.tasks.start(name, r.Path, systems, run)
	if err != nil {
		return nil, err
	}
	return &Result{Task: t}, nil
}

func (ts *tasks) start(name, target string, systems []string, run func(ctx context.Context, t *Task) error) (*Task, error) {
	s := ts.service
	t := &Task{name: name, target: target, systems: systems, start: s.cfg.Clock(), state: taskRunning, service: s}
	ready := make(chan struct{})
	started := s.spawn(func(ctx context.Context) {
		<-ready
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		t.mu.Lock()
		if t.cancel = cancel; t.state != taskRunning {
			cancel() // run has what was begun for it to end
		}
		t.mu.Unlock()
		err := run(ctx, t)
		state := t.finish(err, ctx.Err() != nil && errors.Is(err, context.Canceled), s.cfg.Clock())
		s.taskEnded(t, state, err)
	})
	if !started {
		return nil, unavailable(busyRetry)
	}
	ts.add(t)
	close(ready)
	s.happenedTo(t.systems, t.path(), "TaskEvent.1.0.TaskStarted", t.id)
	return t, nil
}

// add gives the task its ID and forgets old ones.
func (ts *tasks) add(t *Task) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.last++
	t.id = strconv.Itoa(ts.last)
	if len(t.systems) == 1 {
		t.id = t.systems[0] + "." + t.id // so that any peer knows whom to ask for it
	}
	ts.list = append(ts.list, t)
	if len(ts.list) > maxTasks {
		if i := slices.IndexFunc(ts.list, (*Task).ended); i >= 0 {
			ts.list = slices.Delete(ts.list, i, i+1)
		}
	}
}

func (t *Task) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state != taskRunning
}

func (s *Service) taskEnded(t *Task, state string, err error) {
	id := map[string]string{taskCompleted: "TaskCompletedOK", taskCancelled: "TaskCancelled", taskException: "TaskAborted"}[state]
	s.happenedTo(t.systems, t.path(), "TaskEvent.1.0."+id, t.id)
	if state == taskException {
		s.cfg.Log.Warn("redfish: task failed", "task", t.id, "name", t.name, "target", t.target, "err", err)
	}
}

// visible returns the tasks of a caller.
func (ts *tasks) visible(c *Caller) []*Task {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var out []*Task
	for _, t := range ts.list {
		if c.covers(t.systems) {
			out = append(out, t)
		}
	}
	return out
}

func findTask(r *Request) *Task {
	for _, t := range r.Service.tasks.visible(r.Caller) {
		if t.id == r.Var("task") {
			return t
		}
	}
	return nil
}

// drop cancels and forgets a task.
func (ts *tasks) drop(t *Task) {
	t.mu.Lock()
	if t.cancel != nil {
		t.cancel()
	} else if t.state == taskRunning {
		t.state = taskCancelled // it has not begun; its context is over when it does
	}
	t.mu.Unlock()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.list = slices.DeleteFunc(ts.list, func(other *Task) bool { return other == t })
}

func taskTable() []Resource {
	present := func(r *Request) bool { return findTask(r) != nil }
	remove := func(r *Request) error {
		t := findTask(r)
		if t == nil {
			return notFound(r.Path)
		}
		r.Service.tasks.drop(t)
		return nil
	}
	of := func(r *Request) string {
		system, _, _ := cutLast(r.Var("task"), ".")
		if strings.Contains(r.Var("task"), ".") {
			return system
		}
		return ""
	}
	return []Resource{
		{Path: taskServicePath, Type: "#TaskService.v1_2_1.TaskService", Link: "Tasks", Volatile: []string{"DateTime"},
			Get: func(r *Request) (Object, error) {
				return Object{{"Id", "TaskService"}, {"Name", "Task Service"}, {"Status", healthy()}, {"ServiceEnabled", true},
					{"CompletedTaskOverWritePolicy", "Oldest"}, {"LifeCycleEventOnTaskStateChange", true}, {"DateTime", r.Service.now()}}, nil
			}},
		{Path: tasksPath, Type: "#TaskCollection.TaskCollection", Link: "Tasks", Name: "Tasks",
			Members: func(r *Request) ([]string, error) {
				ids := []string{}
				for _, t := range r.Service.tasks.visible(r.Caller) {
					ids = append(ids, t.id)
				}
				return ids, nil
			}},
		{Path: tasksPath + "/{task}", Type: "#Task.v1_7_3.Task", SystemOf: of, Present: present, Delete: remove,
			Get: func(r *Request) (Object, error) {
				if t := findTask(r); t != nil {
					return t.object(), nil
				}
				return nil, notFound(r.Path)
			}},
		// The monitor is no resource: it answers 202 while the task runs.
		{Path: monitorsPath + "/{task}", SystemOf: of, Present: present, Delete: remove,
			Raw: map[string]func(*Request, http.ResponseWriter) error{http.MethodGet: watchTask}},
	}
}

func watchTask(r *Request, w http.ResponseWriter) error {
	t := findTask(r)
	if t == nil {
		return notFound(r.Path)
	}
	rt, _ := r.Service.match(t.path())
	doc, err := assemble(t.path(), rt, t.object())
	if err != nil {
		return err
	}
	status := http.StatusOK
	if state, _ := doc.object.Get("TaskState"); state == taskRunning {
		status = http.StatusAccepted
		w.Header().Set("Location", t.monitor())
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, r.HTTP, status, doc.body)
	return nil
}

func (t *Task) object() Object {
	t.mu.Lock()
	defer t.mu.Unlock()
	status := ok
	if t.state == taskException {
		status = critical
	}
	var end any = Omit
	if !t.end.IsZero() {
		end = t.end.UTC().Format(time.RFC3339)
	}
	messages := []Object{}
	for _, m := range t.messages {
		messages = append(messages, m.info())
	}
	return Object{{"Id", t.id}, {"Name", t.name}, {"TaskState", t.state}, {"TaskStatus", status}, {"PercentComplete", t.percent},
		{"StartTime", t.start.UTC().Format(time.RFC3339)}, {"EndTime", end}, {"TaskMonitor", t.monitor()}, {"HidePayload", true}, {"Messages", messages}}
}

// now is the time as Redfish writes it.
func (s *Service) now() string { return s.cfg.Clock().UTC().Format(time.RFC3339) }

// healthy is the Status of what is there and works.
func healthy() Object { return Object{{"State", "Enabled"}, {"Health", "OK"}} }
