// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/modelpack/model-spec/schema"
)

// judgeModelSpec holds the model's config against the CNCF schema.
func (s *stage) judgeModelSpec(t *testing.T) {
	t.Parallel()
	var manifest struct {
		ArtifactType string     `json:"artifactType"`
		Config       descriptor `json:"config"`
	}
	if err := json.Unmarshal([]byte(s.tool(t, "crane", "manifest", s.modelRef)), &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.ArtifactType != "application/vnd.cncf.model.manifest.v1+json" {
		t.Errorf("artifactType %q", manifest.ArtifactType)
	}
	if got, want := manifest.Config.MediaType, string(schema.ValidatorMediaTypeModelConfig); got != want {
		t.Fatalf("config is %s, the schema is for %s", got, want)
	}
	config := s.tool(t, "crane", "blob", repository(s.modelRef)+"@"+manifest.Config.Digest)
	if err := schema.ValidatorMediaTypeModelConfig.Validate(strings.NewReader(config)); err != nil {
		t.Errorf("%v:\n%s", err, config)
	}

	// A judge that cannot say no proves nothing: the schema is closed.
	broken := strings.Replace(config, "{", `{"surprise":1,`, 1)
	if err := schema.ValidatorMediaTypeModelConfig.Validate(strings.NewReader(broken)); err == nil {
		t.Error("the schema accepts an unknown key")
	}
	t.Logf("model-spec schema accepts %s", config)
}
