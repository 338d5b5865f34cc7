package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
)

// open subscribes and gives what may be received from.
func (c *Client) open(ctx context.Context) (grpc.ClientStream, error) {
	stream, err := Subscribe(ctx, c.connection.Load(), c.settings.Source)
	if err != nil || !c.settings.V2 {
		// The first transport looks at no header, and takes the stream for there at once.
		return stream, err
	}
	header, err := stream.Header()
	if err != nil {
		return nil, err
	}
	if ids := header.Get("subscription-id"); len(ids) != 1 {
		if err := ended(stream); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%d values of subscription-id in the header", len(ids))
	}
	return stream, nil
}

// ended waits for the error of a stream that began without a header.
func ended(stream grpc.ClientStream) error {
	outcome := make(chan error, 1)
	go func() { outcome <- stream.RecvMsg(&Event{}) }()
	select {
	case err := <-outcome:
		return err
	case <-time.After(5 * time.Second):
		return nil
	}
}

// receive hands events on until the stream ends or was silent for too long. Heartbeats are told by their type alone
// and go no further. The second transport hands on one after the other, the first each in a goroutine of its own.
// `subscribed` runs as soon as the transport takes the subscription for made: the first does before there is a stream.
func (c *Client) receive(ctx context.Context, handle func(*Event), subscribed func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !c.settings.V2 {
		go subscribed()
	}
	stream, err := c.open(ctx)
	if err != nil {
		return err
	}
	if c.settings.V2 {
		go subscribed()
	}
	say(line{"stream": "open"})
	silence := c.settings.Healthiness
	var health *time.Timer
	if silence > 0 {
		health = time.AfterFunc(silence, func() {
			cancel(fmt.Errorf("neither event nor heartbeat for %s", silence))
		})
		defer health.Stop()
	}
	for {
		message := &Event{}
		if err := stream.RecvMsg(message); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		if health != nil {
			health.Reset(silence)
		}
		switch {
		case message.Type == heartbeat:
			say(line{"heartbeat": c.heartbeats.Add(1)})
		case c.settings.V2:
			handle(message)
		default:
			go handle(message)
		}
	}
}

// keep subscribes again and again, each time on a new connection; `again` runs after every subscription but the first.
func (c *Client) keep(ctx context.Context, handle func(*Event), again func()) {
	for subscribed := func() {}; ctx.Err() == nil; subscribed = again {
		err := c.receive(ctx, handle, subscribed)
		say(line{"stream": "lost", "why": fmt.Sprint(err)})
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.settings.Wait):
		}
		connection, err := c.settings.dial()
		if err != nil {
			say(line{"stream": "lost", "why": err.Error()})
			continue
		}
		c.connection.Swap(connection).Close()
	}
}

const heartbeat = "io.open-cluster-management.cloudevents.heartbeat"
