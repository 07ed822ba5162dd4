// Runs a job's program at its times, in the job's own container: images have no shell, and no cron.
//
//	job-runner FOLDER SCHEDULE PROGRAM [WORD...]
//
// The schedule is read as Kubernetes reads it, in UTC. FOLDER outlives the container and is shared with the one that
// replaces it: `lock` lets one run at a time, and `runs.json` has the last runs.
//
// SIGUSR1: start nothing more; a run that is under way goes on. SIGTERM: pass it on to the run, and end with it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	kept      = 20               // runs in runs.json
	late      = time.Minute      // a run that could not start for so long is missed: the machine slept
	glance    = 30 * time.Second // how often the clock is read again: it may be set
	killed    = 137
	notFound  = 127
	wrongUse  = 2
	signalled = 128
)

type run struct {
	Due   time.Time `json:"due"`
	Begin time.Time `json:"begin"`
	End   time.Time `json:"end"`
	Code  int       `json:"code"`
	By    string    `json:"by"`
}

type record struct {
	Running *run  `json:"running"`
	Runs    []run `json:"runs"`
}

type runner struct {
	folder, host string
	words        []string
	lock         *os.File
	command      *exec.Cmd
	current      run
	done         chan int
}

func main() {
	if len(os.Args) < 4 {
		fail(wrongUse, "usage: job-runner FOLDER SCHEDULE PROGRAM [WORD...]")
	}
	schedule, err := cron.ParseStandard(os.Args[2])
	if err != nil {
		fail(wrongUse, "the schedule %q: %v", os.Args[2], err)
	}
	words := os.Args[3:]
	if _, err := exec.LookPath(words[0]); err != nil {
		fail(notFound, "%v", err)
	}
	host, _ := os.Hostname()
	job := &runner{folder: os.Args[1], host: host, words: words, done: make(chan int, 1)}
	job.closeAbandoned()
	job.serve(schedule)
}

func (job *runner) serve(schedule cron.Schedule) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	due := schedule.Next(now())
	draining, ending := false, false
	for {
		select {
		case <-time.After(min(max(0, time.Until(due)), glance)):
			if now().Before(due) {
				continue
			}
			if !draining {
				job.start(due)
			}
			due = schedule.Next(now())
		case code := <-job.done:
			job.finish(code)
			if ending {
				return
			}
		case received := <-signals:
			draining = true
			if received == syscall.SIGUSR1 {
				continue
			}
			ending = true
			if job.command == nil {
				return
			}
			_ = job.command.Process.Signal(syscall.SIGTERM)
		}
	}
}

// start starts the program, unless that is too late, or a run is under way here or in the container before this one.
func (job *runner) start(due time.Time) {
	if now().Sub(due) > late {
		say("missed its run of %s", due.Format(time.RFC3339))
		return
	}
	if !job.acquire() {
		say("skipped its run of %s: the one before it is still under way", due.Format(time.RFC3339))
		return
	}
	known := job.read()
	if len(known.Runs) > 0 && !known.Runs[0].Due.Before(due) {
		job.release() // the container before this one has just done it
		return
	}
	job.current = run{Due: due, Begin: now(), By: job.host}
	known.Running = &job.current
	job.write(known)
	say("started")
	command := exec.Command(job.words[0], job.words[1:]...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Start(); err != nil {
		say("%v", err)
		job.done <- notFound
		return
	}
	job.command = command
	go func() { job.done <- exitCode(command.Wait()) }()
}

func (job *runner) finish(code int) {
	job.command = nil
	job.current.End, job.current.Code = now(), code
	job.write(record{Runs: prepend(job.current, job.read().Runs)})
	job.release()
	say("ended after %s with exit code %d", job.current.End.Sub(job.current.Begin), code)
}

// closeAbandoned records a run whose runner was killed: nobody holds the lock.
func (job *runner) closeAbandoned() {
	if !job.acquire() {
		return
	}
	if known := job.read(); known.Running != nil {
		known.Running.End, known.Running.Code = now(), killed
		job.write(record{Runs: prepend(*known.Running, known.Runs)})
	}
	job.release()
}

func (job *runner) acquire() bool {
	if job.lock != nil {
		return false
	}
	file, err := os.OpenFile(filepath.Join(job.folder, "lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		fail(1, "%v", err)
	}
	_ = os.Chmod(file.Name(), 0o666) // the next image may have another user
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return false
	}
	job.lock = file
	return true
}

func (job *runner) release() {
	_ = job.lock.Close()
	job.lock = nil
}

func (job *runner) read() record {
	var known record
	if content, err := os.ReadFile(filepath.Join(job.folder, "runs.json")); err == nil {
		_ = json.Unmarshal(content, &known)
	}
	return known
}

func (job *runner) write(known record) {
	content, _ := json.Marshal(known)
	path := filepath.Join(job.folder, "runs.json")
	partial := path + "." + job.host
	if err := os.WriteFile(partial, content, 0o666); err != nil {
		say("%v", err)
		return
	}
	if err := os.Rename(partial, path); err != nil {
		say("%v", err)
	}
}

func prepend(newest run, others []run) []run {
	all := append([]run{newest}, others...)
	return all[:min(len(all), kept)]
}

func exitCode(err error) int {
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return 0
	}
	if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return signalled + int(status.Signal())
	}
	return ended.ExitCode()
}

func now() time.Time {
	return time.Now().UTC().Truncate(time.Second)
}

func say(text string, values ...any) {
	fmt.Fprintf(os.Stderr, "job: "+text+"\n", values...)
}

func fail(code int, text string, values ...any) {
	say(text, values...)
	os.Exit(code)
}
