package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// CloudEvents without the client of works, as Maestro's own examples send them.

// publish sends one event: DATA makes it one with a content type, `-` none. An extension is text unless it is a number.
func publish(ctx context.Context, c *Client, arguments []string) error {
	event := ce.New()
	event.SetID(uuid.NewString())
	event.SetSource(c.settings.Source)
	event.SetType(dataType + "." + arguments[0])
	event.SetTime(time.Now())
	event.SetExtension("clustername", arguments[1])
	event.SetExtension("originalsource", "")
	if arguments[2] != "-" {
		event.SetExtension("resourceid", arguments[2])
	}
	if arguments[3] != "-" {
		version, err := strconv.ParseInt(arguments[3], 10, 32)
		if err != nil {
			return err
		}
		event.SetExtension("resourceversion", version)
	}
	if strings.HasSuffix(arguments[0], "delete_request") {
		event.SetExtension("deletiontimestamp", time.Now())
	}
	if len(arguments) > 4 && arguments[4] != "-" {
		data, err := given(arguments[4])
		if err != nil {
			return err
		}
		if err := event.SetData(ce.ApplicationJSON, json.RawMessage(data)); err != nil {
			return err
		}
	}
	for _, argument := range arguments[min(5, len(arguments)):] {
		name, value, _ := strings.Cut(argument, "=")
		event.SetExtension(name, value)
	}
	message, err := toMessage(event)
	if err != nil {
		return err
	}
	// Whatever the limit of this side: the other one's is asked for.
	unlimited := grpc.MaxCallSendMsgSize(1 << 30)
	if err := Publish(ctx, c.connection.Load(), message, unlimited); err != nil {
		told := told(published(arguments[2], err))
		told["code"], told["message"] = status.Code(err).String(), status.Convert(err).Message()
		say(told)
		return nil
	}
	say(line{"published": event.ID()})
	return nil
}

// subscribe shows each event with the types of its attributes.
func subscribe(ctx context.Context, c *Client, _ []string) error {
	c.keep(ctx, func(message *Event) {
		attributes := line{}
		for name, attribute := range message.Attributes {
			attributes[name] = line{strings.TrimPrefix(fmt.Sprintf("%T", attribute.Attr), "*main.ce"): value(attribute)}
		}
		told := line{"id": message.Id, "source": message.Source, "type": message.Type, "attributes": attributes}
		if data, found := message.Data.(*binaryData); found {
			told["data"] = json.RawMessage(data.BinaryData)
		}
		say(told)
	}, func() {})
	return nil
}

// stall takes the header and nothing else, with the smallest window there is.
func stall(ctx context.Context, c *Client, _ []string) error {
	slow, err := newClient(c.settings, grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16))
	if err != nil {
		return err
	}
	stream, err := slow.open(ctx)
	if err != nil {
		return err
	}
	if _, err := stream.Header(); err != nil {
		return err
	}
	say(line{"stalled": c.settings.Source})
	// Ends when the server resets the stream, or with the connection.
	<-stream.Context().Done()
	say(line{"cut": fmt.Sprint(stream.RecvMsg(&Event{}))})
	return nil
}

// sized publishes a creation that takes exactly so many bytes on the wire, then a small one on the same connection.
func sized(ctx context.Context, c *Client, arguments []string) error {
	wanted, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	for _, name := range []string{"sized", "small"} {
		event, err := encode(c.settings.Source, "create_request", sample(arguments[1], name, c.settings.Source, 0), 0)
		if err != nil {
			return err
		}
		message, err := toMessage(event)
		if err != nil {
			return err
		}
		data := event.Data()
		if name == "sized" {
			// Blanks behind the JSON; once more because the length of a length may have grown.
			for range 2 {
				message.Data = &binaryData{data}
				missing := wanted - proto.Size(protoadapt.MessageV2Of(&PublishRequest{Event: message}))
				data = append(data, bytes.Repeat([]byte{' '}, max(missing, 0))...)
				data = data[:len(data)+min(missing, 0)]
			}
			message.Data = &binaryData{data}
			size := proto.Size(protoadapt.MessageV2Of(&PublishRequest{Event: message}))
			if size != wanted {
				return fmt.Errorf("%d bytes cannot be had, but %d", wanted, size)
			}
		}
		err = Publish(ctx, c.connection.Load(), message, grpc.MaxCallSendMsgSize(1<<30))
		say(line{"name": name, "code": status.Code(err).String(), "message": status.Convert(err).Message()})
	}
	return nil
}
