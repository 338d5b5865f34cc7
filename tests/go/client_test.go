package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
)

func TestAnIdIsThatOfTheLibrary(t *testing.T) {
	if got := uid("mw-client-example", "cluster1", "w1"); got != "26bc979c-65f5-52a9-99cc-26d16545ac9b" {
		t.Fatal(got)
	}
}

func TestFieldsHaveTheirNumbers(t *testing.T) {
	event := ce.New()
	event.SetID("i")
	event.SetSource("s")
	event.SetType("t")
	event.SetExtension("n", 7)
	message, err := toMessage(event)
	if err != nil {
		t.Fatal(err)
	}
	message.Data = &binaryData{[]byte("d")}
	bytes, err := proto.Marshal(protoadapt.MessageV2Of(&PublishRequest{Event: message}))
	if err != nil {
		t.Fatal(err)
	}
	// 1: id, 2: source, 3: version, 4: type, 5: a map of one key to the second kind of value, 6: data.
	want := "0a1d" + "0a0169" + "120173" + "1a03312e30" + "220174" + "2a0a0a0463652d6e12021007" + "320164"
	if got := hex.EncodeToString(bytes); got != want {
		t.Fatal(got)
	}
}

func TestLabelsAreSearchedAsTheLibraryWritesThem(t *testing.T) {
	selector, err := labels.Parse("a=1,app.kubernetes.io/name=x,b in (c,d),e notin (f,g),h")
	if err != nil {
		t.Fatal(err)
	}
	got, err := search("S", []string{"A", "B"}, selector)
	if err != nil {
		t.Fatal(err)
	}
	want := `source='S' and (consumer_name='A' or consumer_name='B') and LABELS@>'{"a":"1","app.kubernetes.io/name":"x"}'` +
		` and LABELS->>'b'in('c','d') and LABELS->>'e'<>'f' and LABELS->>'e'<>'g' and LABELS->>'h'<>null`
	if got != strings.ReplaceAll(want, "LABELS", column) {
		t.Fatal(got)
	}
	absent, _ := labels.Parse("!a")
	if _, err := search("S", nil, absent); err == nil {
		t.Fatal("labels that must be absent cannot be searched for")
	}
}

func TestAKeyThatTheModelDoesNotKnowFailsTheWholeList(t *testing.T) {
	server := started(t)
	client := with(t, server.settings)
	server.extra = `,"executer":{}`
	if _, err := client.create(t.Context(), sample("cluster1", "w1", "stub", 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.get(t.Context(), "w1", uid("stub", "cluster1", "w1")); err != nil {
		t.Fatal(err)
	}
	_, err := client.list(t.Context(), nil, labels.Everything())
	if err == nil || !strings.Contains(err.Error(), `unknown field "executer"`) {
		t.Fatal(err)
	}
}

func TestOnlyAMessageThatIsAStatusErrorHasAType(t *testing.T) {
	server := started(t)
	client := with(t, server.settings)
	server.refusal = fmt.Errorf(`{"ErrStatus":{"status":"Failure","reason":"Conflict","code":409,"message":"no"}}`)
	if _, err := client.create(t.Context(), sample("cluster1", "w1", "stub", 0)); !apierrors.IsConflict(err) {
		t.Fatal(err)
	}
	server.refusal = fmt.Errorf("no")
	_, err := client.create(t.Context(), sample("cluster1", "w1", "stub", 0))
	if apierrors.ReasonForError(err) != "PublishError" {
		t.Fatal(err)
	}
}

func TestASilentStreamIsOpenedAgainAndTheListRepairsIt(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		server := started(t)
		settings := server.settings
		settings.Healthiness, settings.V2 = 200*time.Millisecond, v2
		client := with(t, settings)
		changes, err := client.watch(t.Context(), "cluster1", labels.Everything())
		if err != nil {
			t.Fatal(err)
		}
		// Before there is a stream, so that only a list can tell of it.
		if _, err := client.create(t.Context(), sample("cluster1", "w1", "stub", 0)); err != nil {
			t.Fatal(err)
		}
		go client.follow(t.Context())
		if first := <-changes; first.from != "list" {
			t.Fatal(first)
		}
		// The first transport has the list before it has the stream.
		for server.count() < 2 {
			time.Sleep(time.Millisecond)
		}
	}
}

func TestTheSecondTransportWantsOneIdOfTheSubscription(t *testing.T) {
	server := started(t)
	server.ids = []string{"one", "two"}
	first, second := with(t, server.settings), with(t, server.settings)
	second.settings.V2 = true
	if _, err := first.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := second.open(ctx); err == nil {
		t.Fatal("two are there")
	}
}

func with(t *testing.T, settings Settings) *Client {
	client, err := newClient(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.connection.Load().Close() })
	return client
}
