package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/stmcginnis/gofish/common"
	"github.com/stmcginnis/gofish/redfish"
)

// jsonBody encodes what cannot fail.
func jsonBody(v any) io.ReadSeeker {
	b, _ := json.Marshal(v)
	return bytes.NewReader(b)
}

// processing asks a task's monitor (DSP0266 §12.2): 202 until the end.
func (f *fish) processing(monitor string) (bool, error) {
	resp, err := f.api.Get(monitor)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusAccepted, nil
}

// finish restarts the node, which ends what waits for that.
func (f *fish) finish(monitor string) error {
	waits, err := f.processing(monitor)
	if err := errors.Join(err, same("waits", waits, true)); err != nil {
		return err
	}
	if err := f.restart(); err != nil {
		return err
	}
	return f.until("the task", func() (bool, error) {
		waits, err := f.processing(monitor)
		return !waits, err
	})
}

// update has an image of a version flashed.
func (f *fish) update(version string, targets ...string) error {
	s, err := f.api.Service.UpdateService()
	if err != nil {
		return err
	}
	if err = s.SimpleUpdate(&redfish.SimpleUpdateParameters{ImageURI: f.Firmware + "/bios-" + version + ".bin", Targets: targets}); err != nil {
		return err
	}
	err = f.until("the update", func() (bool, error) {
		tasks, err := f.api.Service.Tasks()
		return !slices.ContainsFunc(tasks, func(t *redfish.Task) bool { return t.TaskState == redfish.RunningTaskState }), err
	})
	if err := errors.Join(err, f.restart()); err != nil {
		return err
	}
	return f.until("the version", func() (bool, error) {
		n, err := f.node()
		return err == nil && n.BIOSVersion == version, err
	})
}

// firmware is what firmware.py does.
func (f *fish) firmware() {
	f.call("simple_update(url)", func() error { return f.update("3.1") })
	f.call("simple_update(url, targets)", func() error {
		return f.update("3.2", "/redfish/v1/UpdateService/FirmwareInventory/"+id(f.System)+"-BIOS")
	})
	f.call("get_task_monitor, is_processing, get_task", func() error {
		tasks, err := f.api.Service.Tasks()
		if err != nil || len(tasks) == 0 {
			return fmt.Errorf("%d tasks: %w", len(tasks), err)
		}
		last := tasks[len(tasks)-1]
		waits, err := f.processing(last.TaskMonitor)
		return errors.Join(err, same("processing", waits, false), same("state", last.TaskState, redfish.CompletedTaskState),
			same("status", last.TaskStatus, common.OKHealth), same("has messages", len(last.Messages) > 0, true))
	})
}

// vendor is what vendor.py does.
func (f *fish) vendor() {
	service := func(do func(*redfish.EventService) error) func() error {
		return func() error {
			s, err := f.api.Service.EventService()
			if err != nil {
				return err
			}
			return do(s)
		}
	}
	f.call("get_event_types_for_subscription", service(func(s *redfish.EventService) error {
		return same("Alert", slices.Contains(s.EventTypesForSubscription, redfish.AlertEventType), true)
	}))
	f.call("subscriptions.create", service(func(s *redfish.EventService) (err error) {
		f.kept, err = s.CreateEventSubscription(f.Sink, []redfish.EventType{redfish.AlertEventType}, nil, redfish.RedfishEventDestinationProtocol, "c", nil) //nolint:staticcheck // Ironic subscribes by event type too
		return errors.Join(err, same("is a path", strings.HasPrefix(f.kept, "/redfish/v1/EventService/Subscriptions/"), true))
	}))
	f.call("subscriptions.json", service(func(s *redfish.EventService) error {
		all, err := s.GetEventSubscriptions()
		if err != nil || len(all) != 1 {
			return fmt.Errorf("%d subscriptions: %w", len(all), err)
		}
		return same("subscription", all[0].ODataID, f.kept)
	}))
	f.call("subscriptions.get_member.json", service(func(s *redfish.EventService) error {
		one, err := s.GetEventSubscription(f.kept)
		if err != nil {
			return err
		}
		return errors.Join(same("context", one.Context, "c"), same("destination", one.Destination, f.Sink))
	}))
	f.call("subscription.delete", service(func(s *redfish.EventService) error {
		if err := s.DeleteEventSubscription(f.kept); err != nil {
			return err
		}
		_, err := s.GetEventSubscription(f.kept)
		return status(err, http.StatusNotFound)
	}))
}
