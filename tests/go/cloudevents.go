package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The messages of `io.cloudevents.v1` as the first generator of Go code wrote them: the tags are the contract, and the
// protobuf library reads and writes by them. `server-bridge/proto/cloudevent.proto` is the definition.

// Event is the message `CloudEvent`.
type Event struct {
	Id          string                `protobuf:"bytes,1,opt,name=id,proto3"`
	Source      string                `protobuf:"bytes,2,opt,name=source,proto3"`
	SpecVersion string                `protobuf:"bytes,3,opt,name=spec_version,json=specVersion,proto3"`
	Type        string                `protobuf:"bytes,4,opt,name=type,proto3"`
	Attributes  map[string]*Attribute `protobuf:"bytes,5,rep,name=attributes,proto3" protobuf_key:"bytes,1,opt,name=key,proto3" protobuf_val:"bytes,2,opt,name=value,proto3"`
	Data        isData                `protobuf_oneof:"data"`
}

// Attribute is the message `CloudEventAttributeValue`.
type Attribute struct {
	Attr isAttr `protobuf_oneof:"attr"`
}

// PublishRequest is what Publish takes.
type PublishRequest struct {
	Event *Event `protobuf:"bytes,1,opt,name=event,proto3"`
}

// SubscriptionRequest is what Subscribe takes.
type SubscriptionRequest struct {
	Source      string `protobuf:"bytes,1,opt,name=source,proto3"`
	ClusterName string `protobuf:"bytes,2,opt,name=cluster_name,json=clusterName,proto3"`
	DataType    string `protobuf:"bytes,3,opt,name=data_type,json=dataType,proto3"`
}

type (
	isData interface{ isData() }
	isAttr interface{ isAttr() }

	binaryData struct {
		BinaryData []byte `protobuf:"bytes,6,opt,name=binary_data,json=binaryData,proto3,oneof"`
	}
	textData struct {
		TextData string `protobuf:"bytes,7,opt,name=text_data,json=textData,proto3,oneof"`
	}
	ceBoolean struct {
		CeBoolean bool `protobuf:"varint,1,opt,name=ce_boolean,json=ceBoolean,proto3,oneof"`
	}
	ceInteger struct {
		CeInteger int32 `protobuf:"varint,2,opt,name=ce_integer,json=ceInteger,proto3,oneof"`
	}
	ceString struct {
		CeString string `protobuf:"bytes,3,opt,name=ce_string,json=ceString,proto3,oneof"`
	}
	ceBytes struct {
		CeBytes []byte `protobuf:"bytes,4,opt,name=ce_bytes,json=ceBytes,proto3,oneof"`
	}
	ceURI struct {
		CeURI string `protobuf:"bytes,5,opt,name=ce_uri,json=ceUri,proto3,oneof"`
	}
	ceURIRef struct {
		CeURIRef string `protobuf:"bytes,6,opt,name=ce_uri_ref,json=ceUriRef,proto3,oneof"`
	}
	ceTimestamp struct {
		CeTimestamp *timestamppb.Timestamp `protobuf:"bytes,7,opt,name=ce_timestamp,json=ceTimestamp,proto3,oneof"`
	}
)

func (*binaryData) isData()  {}
func (*textData) isData()    {}
func (*ceBoolean) isAttr()   {}
func (*ceInteger) isAttr()   {}
func (*ceString) isAttr()    {}
func (*ceBytes) isAttr()     {}
func (*ceURI) isAttr()       {}
func (*ceURIRef) isAttr()    {}
func (*ceTimestamp) isAttr() {}

func (*Event) XXX_OneofWrappers() []any {
	return []any{(*binaryData)(nil), (*textData)(nil)}
}

func (*Attribute) XXX_OneofWrappers() []any {
	return []any{
		(*ceBoolean)(nil), (*ceInteger)(nil), (*ceString)(nil), (*ceBytes)(nil), (*ceURI)(nil), (*ceURIRef)(nil),
		(*ceTimestamp)(nil),
	}
}

func (e *Event) Reset()                         { *e = Event{} }
func (e *Event) String() string                 { return e.Type + " " + e.Id }
func (*Event) ProtoMessage()                    {}
func (a *Attribute) Reset()                     { *a = Attribute{} }
func (*Attribute) String() string               { return "attribute" }
func (*Attribute) ProtoMessage()                {}
func (r *PublishRequest) Reset()                { *r = PublishRequest{} }
func (r *PublishRequest) String() string        { return "publish " + r.Event.String() }
func (*PublishRequest) ProtoMessage()           {}
func (r *SubscriptionRequest) Reset()           { *r = SubscriptionRequest{} }
func (r *SubscriptionRequest) String() string   { return "subscribe " + r.Source }
func (*SubscriptionRequest) ProtoMessage()      {}
func (*Event) XXX_MessageName() string          { return "io.cloudevents.v1.CloudEvent" }
func (*Attribute) XXX_MessageName() string      { return "io.cloudevents.v1.CloudEventAttributeValue" }
func (*PublishRequest) XXX_MessageName() string { return "io.cloudevents.v1.PublishRequest" }
func (*SubscriptionRequest) XXX_MessageName() string {
	return "io.cloudevents.v1.SubscriptionRequest"
}

// Publish is the unary call.
func Publish(ctx context.Context, connection grpc.ClientConnInterface, event *Event, options ...grpc.CallOption) error {
	return connection.Invoke(ctx, service+"Publish", &PublishRequest{Event: event}, &emptypb.Empty{}, options...)
}

// Subscribe is the stream of events.
func Subscribe(ctx context.Context, connection grpc.ClientConnInterface, source string) (grpc.ClientStream, error) {
	description := &grpc.StreamDesc{StreamName: "Subscribe", ServerStreams: true}
	stream, err := connection.NewStream(ctx, description, service+"Subscribe")
	if err != nil {
		return nil, err
	}
	// A source names no cluster.
	if err := stream.SendMsg(&SubscriptionRequest{Source: source, DataType: dataType}); err != nil {
		return nil, err
	}
	return stream, stream.CloseSend()
}

const service = "/io.cloudevents.v1.CloudEventService/"
