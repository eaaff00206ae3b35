package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wafleet/wafleet/shared/telemetry"
)

// dispatcher does what an event of EventBridge asks for.
type dispatcher struct {
	sweeper
	metrics *telemetry.MetricWriter
}

// event is the little of an event of EventBridge that matters here.
type event struct {
	Source     string `json:"source"`
	DetailType string `json:"detail-type"`
	Detail     struct {
		TaskARN    string `json:"taskArn"`
		LastStatus string `json:"lastStatus"`
	} `json:"detail"`
}

var (
	errUnknownEvent = errors.New(`this function serves scheduled events and "ECS Task State Change" of EventBridge only`)
	errNoTask       = errors.New(`the "ECS Task State Change" lacks detail.taskArn or detail.lastStatus`)
)

// ignored is the answer to a task that has not stopped.
type ignored struct {
	Ignored string `json:"ignored"`
}

// handle answers one event. EventBridge delivers again after an error.
func (d dispatcher) handle(ctx context.Context, raw json.RawMessage) (any, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, errUnknownEvent
	}
	switch {
	case e.Source == "aws.events" || e.Source == "aws.scheduler":
		return d.scheduled(ctx)
	case e.Source == "aws.ecs" && e.DetailType == "ECS Task State Change":
		return d.taskChanged(ctx, e.Detail.TaskARN, e.Detail.LastStatus)
	}
	return nil, errUnknownEvent
}

// scheduled is the only one that publishes: right after a death sessions are
// unplaced as they should be, which is nobody's alarm.
func (d dispatcher) scheduled(ctx context.Context) (any, error) {
	found, err := d.sweep(ctx)
	if err != nil {
		return nil, err
	}
	d.tell(ctx, found)
	return found, d.metrics.Write(time.Now(), nil, metrics(found))
}

func (d dispatcher) taskChanged(ctx context.Context, task, status string) (any, error) {
	switch {
	case task == "" || status == "":
		return nil, errNoTask
	case status != "STOPPED":
		return ignored{fmt.Sprintf("the task is %s", status)}, nil
	}
	found, err := d.bury(ctx, task)
	if err != nil {
		return nil, err
	}
	d.tell(ctx, found)
	return found, nil
}

// tell logs a sweep.
func (d dispatcher) tell(ctx context.Context, found summary) {
	d.log.InfoContext(ctx, "swept", "found", found)
}
