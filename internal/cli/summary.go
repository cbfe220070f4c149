// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/metalpack/metalpack/builder"
	"github.com/metalpack/metalpack/builder/macho"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/recipes"
)

// summary is the result of build: what was written, and what it took.
type summary struct {
	written
	Name    string        `json:"name"`
	Release string        `json:"release"`
	Targets []builtTarget `json:"targets"`
	Built   int64         `json:"layersBuilt"`
	Cached  int64         `json:"layersCached"`
	Sent    int64         `json:"bytesWritten"`
	There   int64         `json:"bytesThere"` // at the destination before
	Seconds float64       `json:"seconds"`

	layers tally
}

// builtTarget is one platform of a build.
type builtTarget struct {
	Platform string `json:"platform"`
	Floor    string `json:"floor"`
	builder.Outline
	Codecs []builtCodec `json:"codecs"`

	Binaries *macho.Report `json:"binaries"` // null where there are none
}

// builtCodec is one manifest of a platform.
type builtCodec struct {
	Codec string  `json:"codec"`
	Size  int64   `json:"size"`  // bytes of all layers, compressed
	Ratio float64 `json:"ratio"` // compressed to unpacked
}

// newSummary counts the layers whose events it passes on.
func newSummary(r *recipes.Recipe, next bundle.EventFunc) *summary {
	s := &summary{Name: r.Name, Release: r.Release}
	s.layers.next = next
	return s
}

// add takes a target into account whose variant comes next.
func (s *summary) add(p bundle.Platform, o builder.Outline) *builtTarget {
	s.Targets = append(s.Targets, builtTarget{Platform: p.String(), Floor: p.Floor(), Outline: o})
	return &s.Targets[len(s.Targets)-1]
}

// outlineText says how large an environment is.
func outlineText(o builder.Outline) string {
	return fmt.Sprintf("%s, %s, %s in %s", ui.Plural(o.Packages, "package"), ui.Plural(o.Files, "file"), ui.Bytes(o.Size), ui.Plural(o.Layers, "layer"))
}

// measure fills in what the finished artifact tells.
func (s *summary) measure(ctx context.Context, art *builder.Artifact) error {
	s.Built, s.Cached = s.layers.made.Load(), s.layers.found.Load()
	data, err := art.Manifest(ctx, art.Root())
	if err != nil {
		return err
	}
	index, err := bundle.ParseIndex(data)
	if err != nil {
		return err
	}
	for _, d := range index.Manifests {
		if data, err = art.Manifest(ctx, d); err != nil {
			return err
		}
		m, err := bundle.ParseManifest(data)
		if err != nil {
			return err
		}
		c := builtCodec{Codec: m.Annotations[bundle.AnnotationCodec]}
		for _, l := range m.Layers {
			c.Size += l.Size
		}
		s.addCodec(d.Platform.OS+"/"+d.Platform.Architecture, m.Annotations[bundle.AnnotationFloor], c)
	}
	return nil
}

func (s *summary) addCodec(platform, floor string, c builtCodec) {
	for i := range s.Targets {
		if t := &s.Targets[i]; t.Platform == platform && t.Floor == floor {
			c.Ratio = float64(c.Size) / float64(max(t.Size, 1))
			t.Codecs = append(t.Codecs, c)
		}
	}
}

// text is what is said on stderr when all is done.
func (s *summary) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s in %.1f s", s.Name, s.Release, s.Seconds)
	for _, t := range s.Targets {
		fmt.Fprintf(&b, "\n  %s (%s): %s", t.Platform, t.Floor, outlineText(t.Outline))
		for _, c := range t.Codecs {
			fmt.Fprintf(&b, "\n    %s: %s, %.0f%%", c.Codec, ui.Bytes(c.Size), 100*c.Ratio)
		}
	}
	fmt.Fprintf(&b, "\n  layers: %d built, %d from the cache\n  bytes: %s written, %s already there", s.Built, s.Cached, ui.Bytes(s.Sent), ui.Bytes(s.There))
	return b.String()
}
