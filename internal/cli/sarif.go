// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net/url"
	"path"
	"path/filepath"
	"slices"

	"github.com/metalpack/metalpack/bundle/model"
)

// The few objects of SARIF 2.1.0 that findings need. A library would bring a
// hundred more, and a schema validator.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool    sarifTool     `json:"tool"`
	Results []sarifResult `json:"results"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name  string      `json:"name"`
	Rules []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID string `json:"id"`
}

type sarifResult struct {
	RuleID    string          `json:"ruleId"`
	RuleIndex int             `json:"ruleIndex"`
	Level     string          `json:"level"` // error or warning: the words are ours too
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifLocation struct {
	Physical sarifPhysical `json:"physicalLocation"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

// sarifOf writes findings for a code scanner. A finding about the whole model
// points at its source, since scanners drop results without a place.
func sarifOf(r lintResult) sarifLog {
	run := sarifRun{Tool: sarifTool{Driver: sarifDriver{Name: "metalpack model lint", Rules: []sarifRule{}}}, Results: []sarifResult{}}
	for _, f := range r.Findings {
		rule := sarifRule{ID: f.Rule}
		i := slices.Index(run.Tool.Driver.Rules, rule)
		if i < 0 {
			i = len(run.Tool.Driver.Rules)
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
		}
		run.Results = append(run.Results, sarifResult{
			RuleID: f.Rule, RuleIndex: i, Level: string(f.Severity), Message: sarifText{f.Message + " (" + f.Fix + ")"},
			Locations: []sarifLocation{{sarifPhysical{sarifArtifact{sarifPlace(r.Source, f)}}}},
		})
	}
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

// sarifPlace is where a finding points, as a relative address: in a directory
// it is the file as the caller would name it, since scanners show it there.
func sarifPlace(source string, f model.Finding) string {
	u := url.URL{Path: source}
	switch {
	case f.File == "":
	case exists(source):
		u.Path = path.Join(filepath.ToSlash(source), f.File)
	default:
		u.Path = f.File
	}
	return u.String()
}
