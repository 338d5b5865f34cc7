package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// How a CloudEvent lies in the message (docs/MAESTRO.md §5.3): keys with `ce-`, each extension in its own type, the content
// type under a key of its own, data as bytes.

// toMessage writes an event. One without data has no content type.
func toMessage(event ce.Event) (*Event, error) {
	message := &Event{
		Id: event.ID(), Source: event.Source(), SpecVersion: event.SpecVersion(), Type: event.Type(),
		Attributes: map[string]*Attribute{},
	}
	if event.DataContentType() != "" {
		message.Attributes[contentType] = text(event.DataContentType())
	}
	if event.Subject() != "" {
		message.Attributes["ce-subject"] = text(event.Subject())
	}
	if !event.Time().IsZero() {
		message.Attributes["ce-time"] = &Attribute{Attr: &ceTimestamp{timestamppb.New(event.Time())}}
	}
	for name, value := range event.Extensions() {
		attribute, err := native(value)
		if err != nil {
			return nil, fmt.Errorf("extension %s: %w", name, err)
		}
		message.Attributes["ce-"+name] = attribute
	}
	if event.Data() != nil {
		message.Data = &binaryData{event.Data()}
	}
	return message, nil
}

// fromMessage reads an event as the library does: no attributes at all is an encoding it does not know, and text data
// is passed over.
func fromMessage(message *Event) (ce.Event, error) {
	event := ce.New(message.SpecVersion)
	if message.Attributes == nil {
		return event, fmt.Errorf("unknown Message encoding")
	}
	data, _ := message.Data.(*binaryData)
	if kind, _ := value(message.Attributes[contentType]).(string); kind != "" {
		if strings.HasPrefix(kind, ce.ApplicationCloudEventsJSON) {
			if data == nil {
				return event, fmt.Errorf("a structured event without data")
			}
			return event, json.Unmarshal(data.BinaryData, &event)
		}
		event.SetDataContentType(kind)
	}
	if message.SpecVersion != ce.CloudEventsVersionV1 {
		return event, fmt.Errorf("unknown Message encoding")
	}
	event.SetID(message.Id)
	event.SetSource(message.Source)
	event.SetType(message.Type)
	for key, attribute := range message.Attributes {
		name, found := strings.CutPrefix(key, "ce-")
		if !found {
			continue
		}
		switch held := value(attribute); name {
		case "time":
			at, isTime := held.(time.Time)
			if !isTime {
				return event, fmt.Errorf("time is a %T", held)
			}
			event.SetTime(at)
		case "subject":
			event.SetSubject(fmt.Sprint(held))
		case "dataschema":
			event.SetDataSchema(fmt.Sprint(held))
		default:
			event.SetExtension(name, held)
		}
	}
	if data != nil {
		event.DataEncoded = data.BinaryData
	}
	if event.FieldErrors != nil {
		return event, fmt.Errorf("%v", event.FieldErrors)
	}
	return event, nil
}

func native(value any) (*Attribute, error) {
	switch held := value.(type) {
	case string:
		return text(held), nil
	case bool:
		return &Attribute{Attr: &ceBoolean{held}}, nil
	case int32:
		return &Attribute{Attr: &ceInteger{held}}, nil
	case []byte:
		return &Attribute{Attr: &ceBytes{held}}, nil
	case time.Time:
		return &Attribute{Attr: &ceTimestamp{timestamppb.New(held)}}, nil
	case interface{ GetTime() time.Time }:
		return &Attribute{Attr: &ceTimestamp{timestamppb.New(held.GetTime())}}, nil
	case fmt.Stringer:
		return &Attribute{Attr: &ceURI{held.String()}}, nil
	default:
		return nil, fmt.Errorf("no attribute can be a %T", value)
	}
}

func value(attribute *Attribute) any {
	if attribute == nil {
		return nil
	}
	switch held := attribute.Attr.(type) {
	case *ceBoolean:
		return held.CeBoolean
	case *ceInteger:
		return held.CeInteger
	case *ceString:
		return held.CeString
	case *ceBytes:
		return held.CeBytes
	case *ceURI:
		return held.CeURI
	case *ceURIRef:
		return held.CeURIRef
	case *ceTimestamp:
		return held.CeTimestamp.AsTime()
	default:
		return nil
	}
}

func text(value string) *Attribute {
	return &Attribute{Attr: &ceString{value}}
}

const contentType = "contenttype"
