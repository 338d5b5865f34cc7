package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cetypes "github.com/cloudevents/sdk-go/v2/types"
	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// encode makes the event of a change; `action` such as `create_request`. A work that is being deleted travels without
// data, content type and metadata.
func encode(source, action string, work *ManifestWork, version int64) (ce.Event, error) {
	event := ce.New()
	event.SetID(uuid.NewString())
	event.SetSource(source)
	event.SetType(dataType + ".spec." + action)
	event.SetTime(time.Now())
	event.SetExtension("clustername", work.Namespace)
	event.SetExtension("originalsource", "")
	event.SetExtension("resourceid", string(work.UID))
	event.SetExtension("resourceversion", version)
	if !work.DeletionTimestamp.IsZero() {
		event.SetExtension("deletiontimestamp", work.DeletionTimestamp.Time)
		return event, nil
	}
	meta := work.ObjectMeta.DeepCopy()
	meta.ResourceVersion = ""
	delete(meta.Annotations, versionAnnotation)
	metadata, err := json.Marshal(meta)
	if err != nil {
		return event, err
	}
	event.SetExtension("metadata", string(metadata))
	tracing := map[string]string{}
	for key, value := range meta.Annotations {
		if strings.HasPrefix(key, "logging.open-cluster-management.io/") {
			tracing[key] = value
		}
	}
	traced, err := json.Marshal(tracing)
	if err != nil {
		return event, err
	}
	event.SetExtension("logtracing", string(traced))
	spec := work.Spec
	return event, event.SetData(ce.ApplicationJSON, bundle{
		Manifests: spec.Workload.Manifests, DeleteOption: spec.DeleteOption,
		ManifestConfigs: spec.ManifestConfigs, Executer: spec.Executor,
	})
}

// decode reads a status (docs/GRPC.md rule 10): without any of these extensions there is none.
func decode(event ce.Event) (*ManifestWork, error) {
	kind, found := strings.CutPrefix(event.Type(), dataType+".status.")
	if !found || strings.Contains(kind, ".") {
		return nil, fmt.Errorf("an event of the type %s", event.Type())
	}
	extensions := event.Extensions()
	id, err := cetypes.ToString(extensions["resourceid"])
	if err != nil {
		return nil, fmt.Errorf("resourceid: %w", err)
	}
	version, err := cetypes.ToInteger(extensions["resourceversion"])
	if err != nil {
		return nil, fmt.Errorf("resourceversion: %w", err)
	}
	sequence, err := cetypes.ToString(extensions["sequenceid"])
	if err != nil {
		return nil, fmt.Errorf("sequenceid: %w", err)
	}
	metadata, err := cetypes.ToString(extensions["metadata"])
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	work := &ManifestWork{}
	if err := json.Unmarshal([]byte(metadata), &work.ObjectMeta); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	work.UID = types.UID(id)
	work.Generation = int64(version)
	work.ResourceVersion = strconv.Itoa(int(version))
	metav1.SetMetaDataAnnotation(&work.ObjectMeta, sequenceAnnotation, sequence)
	var data struct {
		Conditions     []metav1.Condition `json:"conditions"`
		ResourceStatus []json.RawMessage  `json:"resourceStatus"`
		ManifestBundle *bundle            `json:"manifestBundle"`
	}
	if err := event.DataAs(&data); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	work.Status.Conditions = data.Conditions
	work.Status.ResourceStatus.Manifests = data.ResourceStatus
	if data.ManifestBundle != nil {
		work.Spec.set(*data.ManifestBundle)
	}
	return work, nil
}

// version is what a change is based on: the annotation, else the generation, else 0 for the latest.
func version(work *ManifestWork) (int64, error) {
	if text, found := work.Annotations[versionAnnotation]; found {
		return strconv.ParseInt(text, 10, 32)
	}
	return work.Generation, nil
}

const (
	dataType           = "io.open-cluster-management.works.v1alpha1.manifestbundles"
	versionAnnotation  = "cloudevents.open-cluster-management.io/resourceversion"
	sequenceAnnotation = "cloudevents.open-cluster-management.io/sequenceid"
)
