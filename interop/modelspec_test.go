// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/modelpack/model-spec/schema"
)

// both are the capabilities that the published schemas agree on: that of the
// release lets any key pass there, its successor none but its own.
var both = []string{"inputTypes", "outputTypes", "knowledgeCutoff", "reasoning", "toolUsage"}

// judgeModelSpec holds the configs of the ModelPack form against the CNCF
// schema.
func (s *stage) judgeModelSpec(t *testing.T) {
	t.Parallel()
	s.eachModel(t, func(t *testing.T, m published) {
		t.Helper()
		if m.format != "modelpack" {
			t.Skip("the schema is for ModelPack")
		}
		s.validate(t, m.ref)
	})
}

func (s *stage) validate(t *testing.T, ref string) {
	t.Helper()
	var manifest struct {
		ArtifactType string     `json:"artifactType"`
		Config       descriptor `json:"config"`
	}
	if err := json.Unmarshal([]byte(s.tool(t, "crane", "manifest", ref)), &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.ArtifactType != "application/vnd.cncf.model.manifest.v1+json" {
		t.Errorf("artifactType %q", manifest.ArtifactType)
	}
	if got, want := manifest.Config.MediaType, string(schema.ValidatorMediaTypeModelConfig); got != want {
		t.Fatalf("config is %s, the schema is for %s", got, want)
	}
	config := s.tool(t, "crane", "blob", repository(ref)+"@"+manifest.Config.Digest)
	if err := schema.ValidatorMediaTypeModelConfig.Validate(strings.NewReader(config)); err != nil {
		t.Errorf("%v:\n%s", err, config)
	}
	var open struct {
		Config struct {
			Capabilities map[string]any `json:"capabilities"`
		} `json:"config"`
	}
	if err := json.Unmarshal([]byte(config), &open); err != nil {
		t.Fatal(err)
	}
	for key := range open.Config.Capabilities {
		if !slices.Contains(both, key) {
			t.Errorf("capability %q is not in both schemas", key)
		}
	}

	// A judge that cannot say no proves nothing: the schema is closed.
	broken := strings.Replace(config, "{", `{"surprise":1,`, 1)
	if err := schema.ValidatorMediaTypeModelConfig.Validate(strings.NewReader(broken)); err == nil {
		t.Error("the schema accepts an unknown key")
	}
	t.Logf("model-spec schema accepts %s", config)
}
