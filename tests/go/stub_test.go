package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
)

// stub is a server of a few works: what is created is there at once and is told of as applied to every stream.
type stub struct {
	mutex    sync.Mutex
	bundles  map[string]string
	streams  []chan *Event
	ids      []string
	refusal  error
	extra    string
	settings Settings
}

// bridge is what the registration of a service wants to see.
type bridge interface{ publish(*PublishRequest) error }

func started(t *testing.T) *stub {
	s := &stub{bundles: map[string]string{}, ids: []string{"one"}}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "io.cloudevents.v1.CloudEventService",
		HandlerType: (*bridge)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Publish", Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := &PublishRequest{}
			if err := read(request); err != nil {
				return nil, err
			}
			return &emptypb.Empty{}, s.publish(request)
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Subscribe", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			return s.subscribe(stream)
		}}},
	}, s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	rest := httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(func() { server.Stop(); rest.Close() })
	s.settings = Settings{
		Rest: rest.URL, Grpc: listener.Addr().String(), Source: "stub", Healthiness: time.Minute, Wait: time.Millisecond,
	}
	return s
}

func (s *stub) publish(request *PublishRequest) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.refusal != nil {
		return s.refusal
	}
	id := value(request.Event.Attributes["ce-resourceid"]).(string)
	metadata, _ := value(request.Event.Attributes["ce-metadata"]).(string)
	s.bundles[id] = fmt.Sprintf(`{"id":%q,"kind":"ResourceBundle","href":"","name":%q,"consumer_name":"cluster1","version":1,
		"created_at":"2026-08-01T10:00:00Z","updated_at":"2026-08-01T10:00:00Z","metadata":%s%s}`, id, id, metadata, s.extra)
	told := &Event{
		Id: "1", Source: "cluster1-work-agent", SpecVersion: "1.0", Type: dataType + ".status.update_request",
		Attributes: map[string]*Attribute{
			contentType: text("application/json"), "ce-resourceid": text(id), "ce-resourceversion": text("1"),
			"ce-sequenceid": text("7"), "ce-metadata": text(metadata),
		},
		Data: &binaryData{[]byte(`{"conditions":[{"type":"Applied","status":"True"}]}`)},
	}
	for _, stream := range s.streams {
		stream <- told
	}
	return nil
}

func (s *stub) subscribe(stream grpc.ServerStream) error {
	if err := stream.RecvMsg(&SubscriptionRequest{}); err != nil {
		return err
	}
	events := make(chan *Event, 10)
	s.mutex.Lock()
	s.streams = append(s.streams, events)
	s.mutex.Unlock()
	if err := stream.SendHeader(metadata.MD{"subscription-id": s.ids}); err != nil {
		return err
	}
	for {
		select {
		case event := <-events:
			if err := stream.SendMsg(event); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (s *stub) answer(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	const single = "/api/maestro/v1/resource-bundles/"
	if len(r.URL.Path) > len(single) {
		found, there := s.bundles[r.URL.Path[len(single):]]
		if !there {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, found)
		return
	}
	var items []json.RawMessage
	for _, each := range s.bundles {
		items = append(items, json.RawMessage(each))
	}
	page := line{"kind": "ResourceBundleList", "page": 1, "size": len(items), "total": len(items), "items": items}
	json.NewEncoder(w).Encode(page)
}

func (s *stub) count() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.streams)
}
