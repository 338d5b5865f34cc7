package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// search is the condition of a list: the source, then the namespace unless all are meant, then labels, written without
// blanks (docs/GRPC.md rules 5 and 6).
func search(source string, namespaces []string, selector labels.Selector) (string, error) {
	condition := fmt.Sprintf("source='%s'", source)
	switch len(namespaces) {
	case 0:
	case 1:
		condition += fmt.Sprintf(" and consumer_name='%s'", namespaces[0])
	default:
		var any []string
		for _, namespace := range namespaces {
			any = append(any, fmt.Sprintf("consumer_name='%s'", namespace))
		}
		condition += " and (" + strings.Join(any, " or ") + ")"
	}
	requirements, selectable := selector.Requirements()
	if !selectable {
		return condition, nil
	}
	equal := map[string]string{}
	var others []string
	for _, requirement := range requirements {
		key, values := requirement.Key(), requirement.ValuesUnsorted()
		switch requirement.Operator() {
		case selection.Equals, selection.DoubleEquals:
			equal[key] = values[0]
		case selection.In:
			others = append(others, fmt.Sprintf("%s->>'%s'in('%s')", column, key, strings.Join(values, "','")))
		case selection.NotEquals, selection.NotIn:
			for _, value := range values {
				others = append(others, fmt.Sprintf("%s->>'%s'<>'%s'", column, key, value))
			}
		case selection.Exists:
			others = append(others, fmt.Sprintf("%s->>'%s'<>null", column, key))
		default:
			return "", fmt.Errorf("unsupported operator %s", requirement.Operator())
		}
	}
	if len(equal) > 0 {
		all, err := json.Marshal(equal)
		if err != nil {
			return "", err
		}
		condition += fmt.Sprintf(" and %s@>'%s'", column, all)
	}
	for _, other := range others {
		condition += " and " + other
	}
	return condition, nil
}

const column = "payload->'metadata'->'labels'"
