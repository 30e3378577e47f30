package state

import "errors"

// RequestRow remembers how a request ended, so that a repeat of it changes nothing.
type RequestRow struct {
	ID string
	// Serial counts the requests of the mesh.
	Serial uint64
	// Index is where the request was first applied.
	Index uint64
	// Err is the refusal's text; empty: it was applied.
	Err string
	// Cause names the error that callers branch on, if the refusal is one.
	Cause string
}

// Values of RequestRow.Cause. They are in the log for ever.
const (
	causeConflict = "conflict"
	causeNotFound = "not-found"
	causeRefused  = "refused"
)

// refusal is an error that was remembered.
type refusal struct {
	text  string
	cause error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

func (r *RequestRow) result() error {
	switch {
	case r.Err == "":
		return nil
	case r.Cause == causeConflict:
		return &refusal{r.Err, ErrConflict}
	case r.Cause == causeNotFound:
		return &refusal{r.Err, ErrNotFound}
	case r.Cause == causeRefused:
		return &refusal{r.Err, ErrRefused}
	}
	return errors.New(r.Err)
}

func (t *tx) rememberRequest(id string, err error) {
	row := &RequestRow{ID: id, Serial: 1, Index: t.index}
	if last, ok := last[*RequestRow](t.Txn, tableRequests, "serial"); ok {
		row.Serial = last.Serial + 1
	}
	if err != nil {
		row.Err = err.Error()
	}
	switch {
	case errors.Is(err, ErrConflict):
		row.Cause = causeConflict
	case errors.Is(err, ErrNotFound):
		row.Cause = causeNotFound
	case errors.Is(err, ErrRefused):
		row.Cause = causeRefused
	}
	t.put(tableRequests, row)
	trim(t, tableRequests, "serial", func(r *RequestRow) bool { return r.Serial+keepRequests <= row.Serial })
}
