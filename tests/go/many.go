package main

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Volumes: many sources, many streams, and how fast publications and statuses go.

// sources starts COUNT sources `NAME-0` and up. Each has a client of its own with its stream, creates one work in
// NAMESPACE, `cluster1` if none is given, and tells what it hears.
func sources(ctx context.Context, c *Client, arguments []string) error {
	count, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	namespace := "cluster1"
	if len(arguments) > 1 {
		namespace = arguments[1]
	}
	for number := range count {
		settings := c.settings
		settings.Source = fmt.Sprintf("%s-%d", c.settings.Source, number)
		one, err := newClient(settings)
		if err != nil {
			return err
		}
		changes, err := one.watch(ctx, namespace, labels.Everything())
		if err != nil {
			return err
		}
		go one.follow(ctx)
		go func() {
			for change := range changes {
				told := shown(change.work)
				told["event"], told["at"] = string(change.kind), settings.Source
				say(told)
			}
		}()
		work := sample(namespace, "work-of-"+settings.Source, settings.Source, 0)
		if _, err := one.create(ctx, work); err != nil {
			return err
		}
		say(line{"created": string(work.UID), "at": settings.Source})
	}
	say(line{"sources": count})
	<-ctx.Done()
	return nil
}

// streams opens COUNT streams of as many sources, a hundred on each connection.
func streams(ctx context.Context, c *Client, arguments []string) error {
	count, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	one := c
	for number := range count {
		if number%100 == 0 {
			if one, err = newClient(c.settings); err != nil {
				return err
			}
		}
		stream, err := Subscribe(ctx, one.connection.Load(), fmt.Sprintf("%s-%d", c.settings.Source, number))
		if err != nil {
			return err
		}
		if _, err := stream.Header(); err != nil {
			return err
		}
		go func() {
			for stream.RecvMsg(&Event{}) == nil {
			}
		}()
	}
	say(line{"streams": count})
	<-ctx.Done()
	return nil
}

// flood creates COUNT works of BYTES from CALLERS at once.
func flood(ctx context.Context, c *Client, arguments []string) error {
	var numbers [3]int
	for at := range numbers {
		number, err := strconv.Atoi(arguments[at])
		if err != nil {
			return err
		}
		numbers[at] = number
	}
	count, callers, bytes := numbers[0], numbers[1], numbers[2]
	next := make(chan int)
	errs := make(chan error, callers)
	var all sync.WaitGroup
	begun := time.Now()
	for range callers {
		all.Go(func() {
			for number := range next {
				name := fmt.Sprintf("flood-%d-%d-%d", bytes, callers, number)
				work := sample(arguments[3], name, c.settings.Source, bytes)
				if err := c.publish(ctx, "create_request", work); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for number := range count {
		select {
		case next <- number:
		case err := <-errs:
			return err
		}
	}
	close(next)
	all.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	seconds := time.Since(begun).Seconds()
	say(line{"published": count, "seconds": seconds, "rate": float64(count) / seconds})
	return nil
}

// latency publishes one work after the other and waits for the status of each: somebody answers as its agent.
func latency(ctx context.Context, c *Client, arguments []string) error {
	count, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	heard := make(chan string)
	go c.keep(ctx, func(message *Event) {
		id, _ := value(message.Attributes["ce-resourceid"]).(string)
		select {
		case heard <- id:
		case <-ctx.Done():
		}
	}, func() {})
	var times []float64
	for number := range count {
		work := sample(arguments[1], fmt.Sprintf("latency-%d", number), c.settings.Source, 3000)
		begun := time.Now()
		if err := c.publish(ctx, "create_request", work); err != nil {
			return err
		}
		for id := ""; id != string(work.UID); {
			select {
			case id = <-heard:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		times = append(times, time.Since(begun).Seconds())
	}
	sort.Float64s(times)
	at := func(share float64) float64 { return times[int(share*float64(len(times)-1))] }
	say(line{"statuses": count, "p50": at(0.5), "p99": at(0.99), "least": at(0)})
	return nil
}

// sample is a work of one ConfigMap with so many bytes.
func sample(namespace, name, source string, bytes int) *ManifestWork {
	work := &ManifestWork{}
	work.Namespace, work.Name = namespace, name
	work.UID = uidOf(source, work)
	manifest := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"default"},"data":{"k":%q}}`,
		name, strings.Repeat("x", bytes))
	work.Spec.Workload.Manifests = append(work.Spec.Workload.Manifests, []byte(manifest))
	return work
}
