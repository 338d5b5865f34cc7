// Command source is a client of Maestro's gRPC and REST interfaces with the habits of the Go library that its users
// have: what that one sends, reads, refuses and breaks on. Each verb is one call or one scenario, and prints a line of
// JSON for whatever happens.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

const usage = `source [flags] create NAMESPACE WORK          WORK, PATCH and DATA are JSON, or @FILE
source [flags] get|delete NAMESPACE NAME
source [flags] patch NAMESPACE NAME PATCH
source [flags] list|watch [NAMESPACE [SELECTOR]]
source [flags] race NAMESPACE WORK COUNT      as many clients create the same work at once
source [flags] publish ACTION NAMESPACE ID VERSION [DATA [EXTENSION=VALUE...]]
source [flags] subscribe                      events as they lie in the message
source [flags] sources COUNT [NAMESPACE]      as many sources, each with a connection, a stream and a work
source [flags] sized BYTES NAMESPACE          a publication of exactly so many bytes
source [flags] stall                          a subscriber that reads nothing
source [flags] health [SERVICE]
source [flags] consumers
source [flags] flood COUNT CALLERS BYTES NAMESPACE
source [flags] latency COUNT NAMESPACE
source [flags] streams COUNT
source uid NAMESPACE NAME
source token ISSUER AUDIENCE SUBJECT JWKS TOKEN      writes the issuer's keys and a token into these files
`

type line map[string]any

// verb gets a client and what stands behind its name on the command line.
type verb func(context.Context, *Client, []string) error

var verbs = map[string]struct {
	run   verb
	least int
}{
	"create": {create, 2}, "get": {get, 2}, "delete": {remove, 2}, "patch": {patch, 3}, "list": {listed, 0},
	"watch": {watched, 0}, "race": {race, 3}, "publish": {publish, 4}, "subscribe": {subscribe, 0},
	"sources": {sources, 1}, "stall": {stall, 0}, "health": {health, 0}, "consumers": {consumers, 0},
	"sized": {sized, 2}, "flood": {flood, 4}, "latency": {latency, 2}, "streams": {streams, 1}, "uid": {identify, 2},
	"token": {issue, 5},
}

func main() {
	var settings Settings
	flag.StringVar(&settings.Rest, "rest", "http://127.0.0.1:8000", "base URL of the REST API")
	flag.StringVar(&settings.Grpc, "grpc", "127.0.0.1:8090", "host and port of the gRPC endpoint")
	flag.StringVar(&settings.Source, "source", "go-client", "what the source calls itself")
	flag.StringVar(&settings.CA, "ca", "", "file of the certificate authority; plaintext without")
	flag.StringVar(&settings.Certificate, "cert", "", "file of the client certificate")
	flag.StringVar(&settings.Key, "key", "", "file of its key")
	flag.StringVar(&settings.Token, "token", "", "file of a bearer token")
	flag.BoolVar(&settings.V2, "v2", false, "speak as the second transport of the library does")
	flag.DurationVar(&settings.Healthiness, "healthiness", 20*time.Second, "how long a stream may be silent")
	flag.DurationVar(&settings.Wait, "wait", 5*time.Second, "before a lost stream is opened again")
	timeout := flag.Duration("timeout", 30*time.Second, "of a verb that ends")
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	arguments := flag.Args()
	if len(arguments) == 0 {
		fail("no verb")
	}
	chosen, found := verbs[arguments[0]]
	if !found || len(arguments) <= chosen.least {
		fail("unknown verb, or too few arguments: " + strings.Join(arguments, " "))
	}
	ctx := context.Background()
	if !endless[arguments[0]] {
		limited, cancel := context.WithTimeout(ctx, *timeout)
		defer cancel()
		ctx = limited
	}
	client, err := newClient(settings)
	if err != nil {
		fail(err.Error())
	}
	if err := chosen.run(ctx, client, arguments[1:]); err != nil {
		say(told(err))
		os.Exit(1)
	}
}

// endless are the verbs that run until somebody ends them.
var endless = map[string]bool{"watch": true, "subscribe": true, "sources": true, "stall": true, "streams": true}

var output sync.Mutex

// say prints one line, whole.
func say(what line) {
	text, err := json.Marshal(what)
	if err != nil {
		fail(err.Error())
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(text))
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "source: "+why)
	os.Exit(2)
}

// given is an argument, or the file it names.
func given(argument string) ([]byte, error) {
	if file, found := strings.CutPrefix(argument, "@"); found {
		return os.ReadFile(file)
	}
	return []byte(argument), nil
}

// scope is what NAMESPACE and SELECTOR say.
func scope(arguments []string) (string, labels.Selector, error) {
	namespace, selector := "", ""
	if len(arguments) > 0 {
		namespace = arguments[0]
	}
	if len(arguments) > 1 {
		selector = arguments[1]
	}
	parsed, err := labels.Parse(selector)
	return namespace, parsed, err
}

// shown is a work as a line of output.
func shown(work *ManifestWork) line {
	conditions, messages := map[string]string{}, map[string]string{}
	for _, each := range work.Status.Conditions {
		conditions[each.Type], messages[each.Type] = string(each.Status), each.Message
	}
	var objects []string
	for _, object := range work.objects() {
		objects = append(objects, object.GetKind()+"/"+object.GetName())
	}
	return line{
		"namespace": work.Namespace, "name": work.Name, "uid": string(work.UID), "version": work.Generation,
		"labels": work.Labels, "conditions": conditions, "messages": messages, "objects": objects,
		"deleting": !work.DeletionTimestamp.IsZero(), "sequence": work.Annotations[sequenceAnnotation],
	}
}
