package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Bounds of the question for the own task. ECS answers from the same machine.
const (
	taskTimeout  = 3 * time.Second
	taskMaxBytes = 1 << 20
)

// taskOf asks ECS which task this process runs in. metadata is the address that
// ECS puts into the environment of every container, as documented in the Amazon
// ECS developer guide, "Task metadata endpoint version 4".
func taskOf(ctx context.Context, metadata string) (arn string, err error) {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metadata+"/task", nil)
	if err != nil {
		return "", fmt.Errorf("ask ECS for the task: %w", err)
	}
	// Never through a proxy: the address has a meaning on this machine only.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask ECS for the task: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask ECS for the task: %s", response.Status)
	}
	var task struct{ TaskARN string }
	if err := json.NewDecoder(io.LimitReader(response.Body, taskMaxBytes)).Decode(&task); err != nil {
		return "", fmt.Errorf("decode ECS's answer: %w", err)
	}
	if task.TaskARN == "" {
		return "", errors.New("ECS's answer names no task")
	}
	return task.TaskARN, nil
}
