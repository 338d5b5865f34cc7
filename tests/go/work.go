package main

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// ManifestWork as its users hold it.
type ManifestWork struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              Spec   `json:"spec"`
	Status            Status `json:"status"`
}

// Spec is what is wanted.
type Spec struct {
	Workload struct {
		Manifests []json.RawMessage `json:"manifests,omitempty"`
	} `json:"workload"`
	DeleteOption    json.RawMessage   `json:"deleteOption,omitempty"`
	ManifestConfigs []json.RawMessage `json:"manifestConfigs,omitempty"`
	Executor        json.RawMessage   `json:"executor,omitempty"`
}

// Status is what the agent says.
type Status struct {
	Conditions     []metav1.Condition `json:"conditions,omitempty"`
	ResourceStatus struct {
		Manifests []json.RawMessage `json:"manifests,omitempty"`
	} `json:"resourceStatus"`
}

// bundle is the data of an event: the executor has another name there, and a status may bring the whole of it along.
type bundle struct {
	Manifests       []json.RawMessage `json:"manifests,omitempty"`
	DeleteOption    json.RawMessage   `json:"deleteOption,omitempty"`
	ManifestConfigs []json.RawMessage `json:"manifestConfigs,omitempty"`
	Executer        json.RawMessage   `json:"executer,omitempty"`
}

// is tells whether a condition holds.
func (w *ManifestWork) is(condition string) bool {
	for _, each := range w.Status.Conditions {
		if each.Type == condition {
			return each.Status == metav1.ConditionTrue
		}
	}
	return false
}

func (s *Spec) set(data bundle) {
	s.Workload.Manifests = data.Manifests
	s.DeleteOption, s.ManifestConfigs, s.Executor = data.DeleteOption, data.ManifestConfigs, data.Executer
}

// uid is the id that a source's client gives a work (docs/MAESTRO.md §3.6).
func uid(source, namespace, name string) string {
	of := fmt.Sprintf("%s-%s.%s-%s-%s", source, works.Resource, works.Group, namespace, name)
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(of)).String()
}

func uidOf(source string, work *ManifestWork) types.UID {
	return types.UID(uid(source, work.Namespace, work.Name))
}

// merged applies a merge patch (RFC 7396) to a work.
func merged(work *ManifestWork, patch []byte) (*ManifestWork, error) {
	var into, from map[string]any
	held, err := json.Marshal(work)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(held, &into); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(patch, &from); err != nil {
		return nil, err
	}
	merge(into, from)
	all, err := json.Marshal(into)
	if err != nil {
		return nil, err
	}
	result := &ManifestWork{}
	return result, json.Unmarshal(all, result)
}

func merge(into, from map[string]any) {
	for key, value := range from {
		nested, isMap := value.(map[string]any)
		if value == nil {
			delete(into, key)
		} else if below, both := into[key].(map[string]any); isMap && both {
			merge(below, nested)
		} else {
			into[key] = value
		}
	}
}

// objects are the applied objects of a work, to be searched for a nested one as the HyperFleet adapter does.
func (w *ManifestWork) objects() []unstructured.Unstructured {
	var objects []unstructured.Unstructured
	for _, manifest := range w.Spec.Workload.Manifests {
		var object unstructured.Unstructured
		if json.Unmarshal(manifest, &object.Object) == nil {
			objects = append(objects, object)
		}
	}
	return objects
}

var works = schema.GroupResource{Group: "work.open-cluster-management.io", Resource: "manifestworks"}
