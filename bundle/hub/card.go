// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/metalpack/metalpack/bundle"
)

// Caps on a model card.
const (
	MaxCard       = 4 << 20 // bytes of README.md
	maxCardHead   = 64 << 10
	maxBaseModels = 64
	maxCardWord   = 200 // bytes of one value
)

// cardFile is where the card of a model stands.
const cardFile = "README.md"

// Card is what the model card says and where the model comes from.
type Card struct {
	License    string   // SPDX expression, LicenseRef-… for what SPDX does not list; "" = not said
	BaseModels []string // org/name
	Library    string   // e.g. mlx
	Pipeline   string   // task, e.g. text-generation
	Source     string   // address of the model's page
	Revision   string   // commit
}

// Card reads the front matter of README.md at the commit; a model without one
// has Source and Revision alone. They are there with an error, too:
// [bundle.ErrInvalid] if the front matter does not parse, or as for Open.
func (r *Repo) Card(ctx context.Context) (Card, error) {
	return readCard(ctx, r, r.URL())
}

// reader is what Repo and Snapshot share.
type reader interface {
	Commit() string
	Files(ctx context.Context) ([]File, error)
	ReadSmall(ctx context.Context, path string, limit int64) ([]byte, error)
}

func readCard(ctx context.Context, r reader, source string) (Card, error) {
	c := Card{Source: source, Revision: r.Commit()}
	files, err := r.Files(ctx)
	if err != nil {
		return c, err
	}
	if _, ok := find(files, cardFile); !ok {
		return c, nil
	}
	data, err := r.ReadSmall(ctx, cardFile, MaxCard)
	if err != nil {
		return c, err
	}
	said, err := ParseCard(data)
	said.Source, said.Revision = c.Source, c.Revision
	if err != nil {
		return said, fmt.Errorf("%s: %s: %w", source, cardFile, err)
	}
	return said, nil
}

// frontMatter is what we need of the YAML at the top of a model card.
type frontMatter struct {
	License     any `yaml:"license"`
	LicenseName any `yaml:"license_name"`
	BaseModel   any `yaml:"base_model"`
	LibraryName any `yaml:"library_name"`
	PipelineTag any `yaml:"pipeline_tag"`
}

// ParseCard reads the front matter of a README.md, from wherever it comes;
// Source and Revision stay empty. No front matter is an empty card. Values that
// are of another kind than expected, or no plain words, are left out. The error
// wraps [bundle.ErrInvalid].
func ParseCard(readme []byte) (Card, error) {
	head, ok := cardHead(readme)
	if !ok {
		return Card{}, nil
	}
	if len(head) > maxCardHead {
		return Card{}, fmt.Errorf("front matter: more than %d bytes: %w", maxCardHead, bundle.ErrInvalid)
	}
	var m frontMatter
	if err := yaml.Load(head, &m); err != nil && len(bytes.TrimSpace(head)) > 0 {
		return Card{}, fmt.Errorf("front matter: %.200q: %w", err.Error(), bundle.ErrInvalid)
	}
	c := Card{License: license(words(m.License), words(m.LicenseName)), Library: first(words(m.LibraryName)), Pipeline: first(words(m.PipelineTag))}
	for _, base := range words(m.BaseModel) {
		if checkRepo(base) == nil && len(c.BaseModels) < maxBaseModels {
			c.BaseModels = append(c.BaseModels, base)
		}
	}
	return c, nil
}

// cardHead is what stands between two lines of three dashes at the very top.
func cardHead(readme []byte) ([]byte, bool) {
	readme = bytes.TrimPrefix(readme, []byte("\ufeff"))
	readme = bytes.ReplaceAll(readme, []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(readme, []byte("---\n"))
	if !ok {
		return nil, false
	}
	head, _, ok := bytes.Cut(append([]byte("\n"), rest...), []byte("\n---"))
	return head, ok
}

// words is a string or a list of strings, without those that are too long or
// hold more than printable ASCII.
func words(v any) []string {
	var all []string
	switch v := v.(type) {
	case string:
		all = []string{v}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
	}
	return slices.DeleteFunc(all, func(s string) bool {
		return s == "" || len(s) > maxCardWord || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
	})
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// notSPDX is what cannot stand in the name of a licence of one's own.
var notSPDX = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// license turns the hub's names into an SPDX expression. Several licences are
// joined by AND, since the card does not say that one may choose.
func license(ids, names []string) string {
	var all []string
	for _, id := range ids {
		switch id = strings.ToLower(id); id {
		case "unknown":
			continue
		case "other":
			if len(names) > 0 {
				id = names[0]
			}
		}
		if s := spdx(id); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return strings.Join(all, " AND ")
}

// spdx spells a licence as SPDX does, or makes a name for it.
func spdx(id string) string {
	for s := range strings.FieldsSeq(spdxNames) {
		if strings.EqualFold(s, id) {
			return s
		}
	}
	name := strings.Trim(notSPDX.ReplaceAllString(id, "-"), "-")
	if name == "" {
		name = "other"
	}
	return "LicenseRef-" + name
}

// spdxNames are the licences that the hub offers and SPDX lists.
const spdxNames = `
Apache-2.0 MIT BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear ISC Zlib NCSA Unlicense WTFPL 0BSD PostgreSQL Artistic-2.0 AFL-3.0 ECL-2.0
MPL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 LGPL-2.1 LGPL-3.0 GPL-2.0 GPL-3.0 AGPL-3.0 OSL-3.0 MS-PL BSL-1.0 OFL-1.1 LPPL-1.3c ODbL-1.0 ODC-By-1.0 PDDL-1.0
CC0-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-ND-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0
CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 GFDL-1.3
`
