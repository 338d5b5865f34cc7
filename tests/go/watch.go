package main

import (
	"context"
	"sort"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// watcher of one namespace, or of all. Its channel holds nothing: whoever hands on waits for the reader.
type watcher struct {
	namespace string
	selector  labels.Selector
	events    chan change
}

// change is an event of a watch, and whether it came from a list or from the stream.
type change struct {
	kind watch.EventType
	work *ManifestWork
	from string
}

// watch lists what is there, each as Modified, then follows the stream. A second one of the same namespace is the first,
// whatever its selector.
func (c *Client) watch(ctx context.Context, namespace string, selector labels.Selector) (<-chan change, error) {
	c.mutex.Lock()
	if there, found := c.watchers[namespace]; found {
		c.mutex.Unlock()
		return there.events, nil
	}
	made := &watcher{namespace, selector, make(chan change)}
	c.watchers[namespace] = made
	c.mutex.Unlock()
	var namespaces []string
	if namespace != "" {
		namespaces = []string{namespace}
	}
	found, err := c.list(ctx, namespaces, selector)
	if err != nil {
		return nil, err
	}
	go func() {
		for _, work := range found {
			made.events <- change{watch.Modified, work, "list"}
		}
	}()
	return made.events, nil
}

// follow keeps the stream open and repairs what it missed after every reconnect.
func (c *Client) follow(ctx context.Context) {
	c.keep(ctx, c.handle, func() { c.repair(ctx) })
}

func (c *Client) handle(message *Event) {
	event, err := fromMessage(message)
	if err == nil && !c.settings.V2 {
		err = event.Validate()
	}
	var work *ManifestWork
	if err == nil {
		work, err = decode(event)
	}
	if err != nil {
		say(line{"dropped": err.Error(), "type": message.Type})
		return
	}
	kind := watch.Modified
	if work.is("Deleted") {
		kind = watch.Deleted
	}
	c.tell(change{kind, work, "stream"})
}

func (c *Client) tell(change change) {
	c.mutex.Lock()
	var wanted []*watcher
	for _, each := range c.watchers {
		here := each.namespace == "" || each.namespace == change.work.Namespace
		if here && each.selector.Matches(labels.Set(change.work.Labels)) {
			wanted = append(wanted, each)
		}
	}
	c.mutex.Unlock()
	for _, each := range wanted {
		each.events <- change
	}
}

// repair is one list over all namespaces that are watched. What was deleted meanwhile is not in it.
func (c *Client) repair(ctx context.Context) {
	c.mutex.Lock()
	var namespaces []string
	for namespace := range c.watchers {
		if namespace == "" {
			namespaces = nil
			break
		}
		namespaces = append(namespaces, namespace)
	}
	any := len(c.watchers) > 0
	c.mutex.Unlock()
	if !any {
		return
	}
	sort.Strings(namespaces)
	found, err := c.list(ctx, namespaces, labels.Everything())
	if err != nil {
		say(line{"repair": err.Error()})
		return
	}
	say(line{"repair": "listed", "count": len(found)})
	for _, work := range found {
		c.tell(change{watch.Modified, work, "list"})
	}
}
