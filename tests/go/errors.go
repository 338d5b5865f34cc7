package main

import (
	"encoding/json"
	"net/http"

	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// published is the error of a publication as callers see it (docs/GRPC.md §3): a message that is a Kubernetes StatusError as
// JSON is that error; everything else has a reason of its own, with code 500.
func published(name string, err error) error {
	if err == nil {
		return nil
	}
	typed := &apierrors.StatusError{}
	if json.Unmarshal([]byte(status.Convert(err).Message()), typed) == nil {
		return typed
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: "PublishError",
		Details: &metav1.StatusDetails{Group: works.Group, Kind: works.Resource, Name: name},
		Message: "Failed to publish work " + name + ": " + err.Error(),
	}}
}

// told is an error as a line of output, by the words that callers ask with.
func told(err error) line {
	said := line{"error": err.Error(), "reason": string(apierrors.ReasonForError(err))}
	for is, holds := range map[string]bool{
		"conflict": apierrors.IsConflict(err), "exists": apierrors.IsAlreadyExists(err),
		"missing": apierrors.IsNotFound(err), "invalid": apierrors.IsInvalid(err), "forbidden": apierrors.IsForbidden(err),
	} {
		if holds {
			said["is"] = is
		}
	}
	return said
}
