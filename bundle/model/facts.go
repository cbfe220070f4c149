// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// hubAddress is where repositories of the Hugging Face hub are looked at.
const hubAddress = "https://huggingface.co/"

// maxFact caps one fact, in bytes.
const maxFact = 1024

// Facts is where a model comes from and what it may be used for, in words of
// its author. Each may be "".
type Facts struct {
	License     string `json:"license,omitempty"`     // an SPDX expression, or LicenseRef-… for what has no SPDX name
	BaseModel   string `json:"baseModel,omitempty"`   // org/name, or a reference
	Description string `json:"description,omitempty"` // one line
	Source      string `json:"source,omitempty"`      // http or https address of the repository
	Revision    string `json:"revision,omitempty"`    // commit in that repository
}

// or fills what f does not say from g.
func (f Facts) or(g Facts) Facts {
	return Facts{
		License: cmp.Or(f.License, g.License), BaseModel: cmp.Or(f.BaseModel, g.BaseModel),
		Description: cmp.Or(f.Description, g.Description),
		Source:      cmp.Or(f.Source, g.Source), Revision: cmp.Or(f.Revision, g.Revision),
	}
}

// check normalises what a user or an origin stated. Errors wrap
// bundle.ErrInvalid.
func (f Facts) check() (Facts, error) {
	for name, v := range map[string]string{"license": f.License, "base model": f.BaseModel, "description": f.Description, "source": f.Source, "revision": f.Revision} {
		if len(v) > maxFact || v != oneLine(v) {
			return f, invalid("%s %q: want one line of at most %d bytes", name, clip(v), maxFact)
		}
	}
	if f.License != "" {
		f.License = spdx(f.License)
	}
	if f.Source == "" {
		return f, nil
	}
	for _, hub := range []string{"hf.co/", "huggingface.co/"} {
		if name, ok := strings.CutPrefix(f.Source, hub); ok {
			f.Source = hubAddress + name
		}
	}
	u, err := url.Parse(f.Source)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return f, invalid("source %q: want an address like https://huggingface.co/org/name", f.Source)
	}
	return f, nil
}

// tamed drops what is not a fact by the rules of check: another's artifact may
// say anything.
func (f Facts) tamed() Facts {
	for _, v := range []*string{&f.License, &f.BaseModel, &f.Description, &f.Source, &f.Revision} {
		if *v = oneLine(*v); len(*v) > maxFact {
			*v = ""
		}
	}
	if _, err := f.check(); err != nil {
		f.Source = ""
	}
	return f
}

// oneLine makes a text printable and one line of it.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\uFFFD':
			return -1
		}
		return r
	}, s))
}

// spdxNames are the licences of open models that SPDX knows.
var spdxNames = strings.Fields(`Apache-2.0 MIT BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSL-1.0 ISC Zlib Unlicense WTFPL MulanPSL-2.0 ECL-2.0 Artistic-2.0
	AFL-3.0 OFL-1.1 MPL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 OSL-3.0 NCSA MS-PL PostgreSQL LPPL-1.3c GFDL-1.3-or-later
	GPL-2.0-only GPL-3.0-only GPL-3.0-or-later AGPL-3.0-only AGPL-3.0-or-later LGPL-2.1-only LGPL-3.0-only LGPL-3.0-or-later
	CC0-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0
	CC-BY-ND-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0
	C-UDA-1.0 ODbL-1.0 PDDL-1.0 ODC-By-1.0`)

// notSPDX is what a LicenseRef must not hold.
var notSPDX = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// spdx maps the hub's word for a licence to an SPDX expression. An expression
// stays what it is.
func spdx(name string) string {
	for _, id := range spdxNames {
		if strings.EqualFold(id, name) || strings.EqualFold(strings.TrimSuffix(id, "-only"), name) {
			return id
		}
	}
	if strings.HasPrefix(name, "LicenseRef-") || strings.Contains(name, " OR ") || strings.Contains(name, " AND ") || strings.Contains(name, " WITH ") {
		return name
	}
	ref := strings.Trim(notSPDX.ReplaceAllString(name, "-"), "-")
	if ref == "" {
		return ""
	}
	return "LicenseRef-" + ref
}

// annotate writes the facts under the keys of the image specification.
func (f Facts) annotate(out map[string]string) {
	for key, value := range map[string]string{
		ocispec.AnnotationLicenses: f.License, ocispec.AnnotationDescription: f.Description,
		ocispec.AnnotationSource: f.Source, ocispec.AnnotationRevision: f.Revision, ocispec.AnnotationBaseImageName: f.baseName(),
	} {
		if value != "" {
			out[key] = value
		}
	}
}

// baseName is the base model as a reference: a repository of the hub has the
// host that Docker gives it.
func (f Facts) baseName() string {
	org, _, ok := strings.Cut(f.BaseModel, "/")
	if ok && strings.Count(f.BaseModel, "/") == 1 && !strings.ContainsAny(org, ".:") {
		return "hf.co/" + f.BaseModel
	}
	return f.BaseModel
}

// factsOf reads them back.
func factsOf(annotations map[string]string) Facts {
	return Facts{
		License: annotations[ocispec.AnnotationLicenses], Description: annotations[ocispec.AnnotationDescription],
		Source: annotations[ocispec.AnnotationSource], Revision: annotations[ocispec.AnnotationRevision],
		BaseModel: strings.TrimPrefix(annotations[ocispec.AnnotationBaseImageName], "hf.co/"),
	}
}
