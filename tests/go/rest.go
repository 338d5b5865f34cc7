package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The models that the client of Maestro was generated with: these keys and no others (docs/GRPC.md rules 2–4).

type resourceBundle struct {
	ID              string            `json:"id"`
	Kind            string            `json:"kind"`
	Href            string            `json:"href"`
	Name            string            `json:"name"`
	ConsumerName    string            `json:"consumer_name"`
	Version         *int32            `json:"version"`
	CreatedAt       *time.Time        `json:"created_at"`
	UpdatedAt       *time.Time        `json:"updated_at"`
	DeletedAt       *time.Time        `json:"deleted_at"`
	Metadata        json.RawMessage   `json:"metadata"`
	Manifests       []json.RawMessage `json:"manifests"`
	DeleteOption    json.RawMessage   `json:"delete_option"`
	ManifestConfigs []json.RawMessage `json:"manifest_configs"`
	Status          json.RawMessage   `json:"status"`
}

type consumer struct {
	ID        string            `json:"id"`
	Kind      string            `json:"kind"`
	Href      string            `json:"href"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	CreatedAt *time.Time        `json:"created_at"`
	UpdatedAt *time.Time        `json:"updated_at"`
	DeletedAt *time.Time        `json:"deleted_at"`
}

type page[T any] struct {
	Kind  string `json:"kind"`
	Page  int32  `json:"page"`
	Size  int32  `json:"size"`
	Total int32  `json:"total"`
	Items []T    `json:"items"`
}

// strictly reads a page: a key that is missing or not known, in any item, fails the whole of it.
func strictly[T any](body []byte) (page[T], error) {
	var read page[T]
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(body, &keys); err != nil {
		return read, err
	}
	for _, key := range []string{"kind", "page", "size", "total", "items"} {
		if _, found := keys[key]; !found {
			return read, fmt.Errorf("no value given for required property %s", key)
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	return read, decoder.Decode(&read)
}

// list gives every item, by pages of 400 without an order, until one is shorter (docs/GRPC.md rule 7).
func list[T any](ctx context.Context, c *Client, kind, search string) ([]T, error) {
	var all []T
	for number := 1; ; number++ {
		query := url.Values{"page": {strconv.Itoa(number)}, "size": {strconv.Itoa(pageSize)}}
		if search != "" {
			query.Set("search", search)
		}
		body, _, err := c.read(ctx, "/"+kind+"?"+query.Encode())
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		read, err := strictly[T](body)
		if err != nil {
			return nil, apierrors.NewInternalError(fmt.Errorf("page %d: %w", number, err))
		}
		all = append(all, read.Items...)
		if len(read.Items) < pageSize {
			return all, nil
		}
	}
}

// get reads one work by its id. Only 404 means that it is not there (docs/GRPC.md rule 8).
func (c *Client) get(ctx context.Context, name, id string) (*ManifestWork, error) {
	body, status, err := c.read(ctx, "/resource-bundles/"+id)
	switch {
	case status == http.StatusNotFound:
		return nil, apierrors.NewNotFound(works, name)
	case err != nil:
		return nil, apierrors.NewInternalError(err)
	}
	// A single one may carry more than the model knows.
	var read resourceBundle
	if err := json.Unmarshal(body, &read); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	work, err := read.work()
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return work, nil
}

func (c *Client) read(ctx context.Context, path string) ([]byte, int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.settings.Rest+"/api/maestro/v1"+path, nil)
	if err != nil {
		return nil, 0, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s answered %d: %s", path, answer.StatusCode, body)
	}
	return body, answer.StatusCode, err
}

// work is the bundle as its source knows it: name, namespace and labels come from the metadata that it published.
func (b *resourceBundle) work() (*ManifestWork, error) {
	if b.Version == nil {
		return nil, errors.New("a bundle without a version")
	}
	if b.CreatedAt == nil || b.UpdatedAt == nil {
		return nil, errors.New("a bundle without its times")
	}
	work := &ManifestWork{}
	if len(b.Metadata) > 0 {
		if err := json.Unmarshal(b.Metadata, &work.ObjectMeta); err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
	}
	if work.Name == "" {
		work.Name = b.Name
	}
	work.Namespace = b.ConsumerName
	work.UID = types.UID(b.ID)
	work.Generation = int64(*b.Version)
	work.ResourceVersion = strconv.Itoa(int(*b.Version))
	if b.DeletedAt != nil {
		at := metav1.NewTime(*b.DeletedAt)
		work.DeletionTimestamp = &at
	}
	work.Spec.set(bundle{Manifests: b.Manifests, DeleteOption: b.DeleteOption, ManifestConfigs: b.ManifestConfigs})
	if len(b.Status) > 0 {
		var status struct {
			Conditions     []metav1.Condition `json:"conditions"`
			ResourceStatus []json.RawMessage  `json:"resourceStatus"`
		}
		if err := json.Unmarshal(b.Status, &status); err != nil {
			return nil, fmt.Errorf("status: %w", err)
		}
		work.Status.Conditions = status.Conditions
		work.Status.ResourceStatus.Manifests = status.ResourceStatus
	}
	return work, nil
}

const pageSize = 400
