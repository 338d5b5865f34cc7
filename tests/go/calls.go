package main

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"

	"google.golang.org/grpc/health/grpc_health_v1"
	"k8s.io/apimachinery/pkg/labels"
)

// One call each.

func create(ctx context.Context, c *Client, arguments []string) error {
	work, err := workOf(arguments[0], arguments[1])
	if err != nil {
		return err
	}
	made, err := c.create(ctx, work)
	if err != nil {
		return err
	}
	say(shown(made))
	return nil
}

func get(ctx context.Context, c *Client, arguments []string) error {
	work, err := c.get(ctx, arguments[1], uid(c.settings.Source, arguments[0], arguments[1]))
	if err != nil {
		return err
	}
	say(shown(work))
	return nil
}

func remove(ctx context.Context, c *Client, arguments []string) error {
	if err := c.delete(ctx, arguments[0], arguments[1]); err != nil {
		return err
	}
	say(line{"deleted": arguments[1]})
	return nil
}

func patch(ctx context.Context, c *Client, arguments []string) error {
	change, err := given(arguments[2])
	if err != nil {
		return err
	}
	work, err := c.patch(ctx, arguments[0], arguments[1], change)
	if err != nil {
		return err
	}
	say(shown(work))
	return nil
}

func listed(ctx context.Context, c *Client, arguments []string) error {
	namespace, selector, err := scope(arguments)
	if err != nil {
		return err
	}
	var namespaces []string
	if namespace != "" {
		namespaces = []string{namespace}
	}
	found, err := c.list(ctx, namespaces, selector)
	if err != nil {
		return err
	}
	for _, work := range found {
		say(shown(work))
	}
	say(line{"listed": len(found)})
	return nil
}

func consumers(ctx context.Context, c *Client, _ []string) error {
	found, err := list[consumer](ctx, c, "consumers", "")
	if err != nil {
		return err
	}
	for _, each := range found {
		say(line{"name": each.Name, "id": each.ID})
	}
	say(line{"listed": len(found)})
	return nil
}

// race has several clients, each on a connection of its own, create the same work at once: all have looked before one
// publishes.
func race(ctx context.Context, c *Client, arguments []string) error {
	count, err := strconv.Atoi(arguments[2])
	if err != nil {
		return err
	}
	var looked, done sync.WaitGroup
	looked.Add(count)
	for range count {
		done.Go(func() {
			rival, err := newClient(c.settings)
			if err != nil {
				fail(err.Error())
			}
			work, err := workOf(arguments[0], arguments[1])
			if err != nil {
				fail(err.Error())
			}
			// The same as Client.create but for what all wait for.
			_, err = rival.get(ctx, work.Name, uid(c.settings.Source, work.Namespace, work.Name))
			looked.Done()
			looked.Wait()
			if err != nil && told(err)["is"] == "missing" {
				work.UID = uidOf(c.settings.Source, work)
				err = rival.publish(ctx, "create_request", work)
			}
			if err != nil {
				say(told(err))
				return
			}
			say(shown(work))
		})
	}
	done.Wait()
	return nil
}

// health asks as grpcurl does in the runbook of the HyperFleet adapter.
func health(ctx context.Context, c *Client, arguments []string) error {
	service := ""
	if len(arguments) > 0 {
		service = arguments[0]
	}
	client := grpc_health_v1.NewHealthClient(c.connection.Load())
	answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	if err != nil {
		return err
	}
	say(line{"health": answer.Status.String()})
	return nil
}

func identify(_ context.Context, c *Client, arguments []string) error {
	say(line{"uid": uid(c.settings.Source, arguments[0], arguments[1])})
	return nil
}

// watched follows a namespace until it is ended, or all.
func watched(ctx context.Context, c *Client, arguments []string) error {
	namespace, selector, err := scope(arguments)
	if err != nil {
		return err
	}
	go c.follow(ctx)
	changes, err := c.watch(ctx, namespace, selector)
	if err != nil {
		return err
	}
	say(line{"watching": namespace, "selector": labels.Selector.String(selector)})
	for change := range changes {
		told := shown(change.work)
		told["event"], told["from"] = string(change.kind), change.from
		say(told)
	}
	return nil
}

func workOf(namespace, argument string) (*ManifestWork, error) {
	text, err := given(argument)
	if err != nil {
		return nil, err
	}
	work := &ManifestWork{}
	if err := json.Unmarshal(text, work); err != nil {
		return nil, err
	}
	work.Namespace = namespace
	return work, nil
}
