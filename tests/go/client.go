package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Client of ManifestWorks of one source: it publishes by gRPC and reads by REST (docs/GRPC.md §2).
type Client struct {
	settings   Settings
	connection atomic.Pointer[grpc.ClientConn]
	http       *http.Client
	token      string
	heartbeats atomic.Int64

	mutex    sync.Mutex
	watchers map[string]*watcher
}

func newClient(settings Settings, more ...grpc.DialOption) (*Client, error) {
	connection, err := settings.dial(more...)
	if err != nil {
		return nil, err
	}
	http, err := settings.http()
	if err != nil {
		return nil, err
	}
	token, err := settings.token()
	if err != nil {
		return nil, err
	}
	client := &Client{settings: settings, http: http, token: token, watchers: map[string]*watcher{}}
	client.connection.Store(connection)
	return client, nil
}

// create publishes a work that is not there yet. What it returns is the local copy: nothing is read back.
func (c *Client) create(ctx context.Context, work *ManifestWork) (*ManifestWork, error) {
	work.UID = uidOf(c.settings.Source, work)
	if _, err := c.get(ctx, work.Name, string(work.UID)); err == nil {
		return nil, apierrors.NewAlreadyExists(works, work.Name)
	} else if !apierrors.IsNotFound(err) {
		return nil, err
	}
	return work, c.publish(ctx, "create_request", work)
}

// patch changes a work as it is now, unless the patch itself says which version it is based on.
func (c *Client) patch(ctx context.Context, namespace, name string, patch []byte) (*ManifestWork, error) {
	held, err := c.get(ctx, name, uid(c.settings.Source, namespace, name))
	if err != nil {
		return nil, err
	}
	work, err := merged(held, patch)
	if err != nil {
		return nil, err
	}
	return work, c.publish(ctx, "update_request", work)
}

// delete of what is not there is done already.
func (c *Client) delete(ctx context.Context, namespace, name string) error {
	work, err := c.get(ctx, name, uid(c.settings.Source, namespace, name))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	now := metav1.NewTime(time.Now())
	work.DeletionTimestamp = &now
	return c.publish(ctx, "delete_request", work)
}

// list gives the works of the namespaces, of all if none is named.
func (c *Client) list(ctx context.Context, namespaces []string, selector labels.Selector) ([]*ManifestWork, error) {
	condition, err := search(c.settings.Source, namespaces, selector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	bundles, err := list[resourceBundle](ctx, c, "resource-bundles", condition)
	if err != nil {
		return nil, err
	}
	found := make([]*ManifestWork, 0, len(bundles))
	for _, each := range bundles {
		work, err := each.work()
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		found = append(found, work)
	}
	return found, nil
}

func (c *Client) publish(ctx context.Context, action string, work *ManifestWork) error {
	based, err := version(work)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	event, err := encode(c.settings.Source, action, work, based)
	if err != nil {
		return err
	}
	// The first transport validates what it sends.
	if !c.settings.V2 {
		if err := event.Validate(); err != nil {
			return err
		}
	}
	message, err := toMessage(event)
	if err != nil {
		return err
	}
	return published(work.Name, Publish(ctx, c.connection.Load(), message))
}
