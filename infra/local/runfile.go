package main

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// runFile is how the other commands reach a run.
type runFile struct {
	Port        uint16 `json:"port"`
	ControlPort uint16 `json:"simControlPort"` // 0: no simulator
	APIKey      string `json:"apiKey"`
	DatabaseURL string `json:"databaseUrl"`
}

func runFilePath(data string) string { return filepath.Join(data, "run.json") }

func (r runFile) write(path string) error {
	content, err := json.Marshal(r) // #nosec G117 -- the key that make scan needs, in a file for its owner only
	if err != nil {
		return err
	}
	return writePrivate(path, append(content, '\n'))
}

// readRunFile returns zeros where there is no run, or none that can be read.
func readRunFile(path string) runFile {
	var r runFile
	if content, err := os.ReadFile(path); err == nil { // #nosec G304 -- below the data directory that the operator names
		_ = json.Unmarshal(content, &r)
	}
	return r
}
