package main

import (
	"fmt"
	"net/http"
	"time"
)

// askHealth returns why a server is not well, or nil. The image has no shell and no client: the program asks itself.
func askHealth(address string) error {
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get(address + "/health")
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %d", answer.StatusCode)
	}
	return nil
}
