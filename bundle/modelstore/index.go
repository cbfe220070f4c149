// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// Caps on models.json. A list of all models reads a manifest for each, a large
// one again and again if many entries name it.
const (
	maxIndex  = 16 << 20 // bytes
	maxModels = 2048
	maxTwins  = 8 // entries of one model; two programs can make two
)

// entry is one model of models.json, as far as it is understood.
type entry struct {
	ID    digest.Digest `json:"id"`
	Tags  []string      `json:"tags"`
	Files []string      `json:"files"`

	raw span // of the whole entry
}

// span is where a value lies in the bytes of models.json.
type span struct{ start, end int }

// index is models.json with the places of its parts, so that it can be changed
// without touching what is not ours.
type index struct {
	data    []byte
	models  span // the value of "models"; zero if there is no such key
	entries []entry
}

// parseIndex reads models.json. Null lists are empty ones, an entry of another
// shape is kept as one without an id. The error wraps [bundle.ErrInvalid].
func parseIndex(data []byte) (*index, error) {
	if len(data) > maxIndex {
		return nil, fmt.Errorf("models.json: more than %d bytes: %w", maxIndex, bundle.ErrInvalid)
	}
	x := &index{data: data}
	if len(data) == 0 {
		x.data = []byte("{\n  \"models\": []\n}")
	}
	var probe map[string]json.RawMessage
	if err := bundle.DecodeStrict(x.data, &probe); err != nil {
		return nil, fmt.Errorf("models.json: %w", err)
	}
	if probe == nil {
		return nil, fmt.Errorf("models.json: not an object: %w", bundle.ErrInvalid)
	}
	fields, err := spans(x.data, 0)
	if err != nil {
		return nil, fmt.Errorf("models.json: %w: %w", err, bundle.ErrInvalid)
	}
	for _, f := range fields {
		if strings.EqualFold(f.key, "models") { // as DMR's decoder reads it
			x.models = f.span
		}
	}
	if x.models.end == 0 || string(x.text(x.models)) == "null" {
		return x, nil
	}
	if x.data[x.models.start] != '[' {
		return nil, fmt.Errorf("models.json: \"models\" is not a list: %w", bundle.ErrInvalid)
	}
	items, err := spans(x.text(x.models), x.models.start)
	if err != nil {
		return nil, fmt.Errorf("models.json: %w: %w", err, bundle.ErrInvalid)
	}
	if len(items) > maxModels {
		return nil, fmt.Errorf("models.json: %d models, more than %d: %w", len(items), maxModels, bundle.ErrInvalid)
	}
	twins := map[digest.Digest]int{}
	for _, item := range items {
		var e entry
		if json.Unmarshal(x.text(item.span), &e) != nil {
			e = entry{}
		}
		if twins[e.ID]++; twins[e.ID] > maxTwins && e.ID != "" {
			return nil, fmt.Errorf("models.json: more than %d entries of %.80q: %w", maxTwins, e.ID, bundle.ErrInvalid)
		}
		e.raw = item.span
		x.entries = append(x.entries, e)
	}
	return x, nil
}

func (x *index) text(s span) []byte { return x.data[s.start:s.end] }

// field is a member of an object, or with an empty key an element of a list.
type field struct {
	key string
	span
}

// spans lists the direct members of the object or list that data holds; base
// is where data begins.
func spans(data []byte, base int) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	open, err := dec.Token()
	if err != nil {
		return nil, err
	}
	var out []field
	for dec.More() {
		var f field
		if open == json.Delim('{') {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			f.key, _ = key.(string)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		f.span = span{base + end - len(raw), base + end}
		out = append(out, f)
	}
	return out, nil
}

// edit replaces a span by other bytes.
type edit struct {
	at   span
	with string
}

func apply(data []byte, edits []edit) []byte {
	slices.Reverse(edits) // of two at one place the later comes first
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].at.start < edits[j].at.start })
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, data[at:e.at.start]...), e.with...)
		at = e.at.end
	}
	return append(out, data[at:]...)
}

// put returns models.json with a model under a tag: its entry updated or
// appended, the tag taken from every other entry, all other bytes as they
// were.
func (x *index) put(id digest.Digest, tag string, files []string) ([]byte, error) {
	var edits []edit
	found := false
	for _, e := range x.entries {
		mine := e.ID == id
		if !mine && !e.hasTag(tag) {
			continue
		}
		tags := e.tagsWithout(tag)
		if mine {
			found, tags = true, append(tags, tag)
		}
		change, err := x.setField(e, "tags", tags)
		if err != nil {
			return nil, err
		}
		edits = append(edits, change)
		if mine && !slices.Equal(e.Files, files) {
			if change, err = x.setField(e, "files", files); err != nil {
				return nil, err
			}
			edits = append(edits, change)
		}
	}
	if !found {
		edits = append(edits, x.appendEntry(entry{ID: id, Tags: []string{tag}, Files: files}))
	}
	return apply(x.data, edits), nil
}

// untag returns models.json with a tag taken from every entry, all other bytes
// as they were.
func (x *index) untag(tag string) ([]byte, error) {
	var edits []edit
	for _, e := range x.entries {
		if !e.hasTag(tag) {
			continue
		}
		change, err := x.setField(e, "tags", e.tagsWithout(tag))
		if err != nil {
			return nil, err
		}
		edits = append(edits, change)
	}
	return apply(x.data, edits), nil
}

// without returns models.json without the entries that gone names, all other
// bytes as they were.
func (x *index) without(gone func(entry) bool) []byte {
	first := slices.IndexFunc(x.entries, func(e entry) bool { return !gone(e) })
	if first < 0 {
		return apply(x.data, []edit{{x.models, "[]"}})
	}
	var edits []edit
	for i, e := range x.entries {
		switch { // the comma goes with it: the next one, or that before
		case i < first:
			edits = append(edits, edit{span{e.raw.start, x.entries[i+1].raw.start}, ""})
		case gone(e):
			edits = append(edits, edit{span{x.entries[i-1].raw.end, e.raw.end}, ""})
		}
	}
	return apply(x.data, edits)
}

// setField replaces a list in an entry, or adds it at the entry's end.
func (x *index) setField(e entry, key string, list []string) (edit, error) {
	fields, err := spans(x.text(e.raw), e.raw.start)
	if err != nil {
		return edit{}, err
	}
	value := marshal(nonNil(list), "      ")
	for _, f := range fields {
		if strings.EqualFold(f.key, key) { // as DMR's decoder reads it
			return edit{f.span, value}, nil
		}
	}
	if len(fields) == 0 {
		return edit{}, errors.New("models.json: empty entry")
	}
	end := fields[len(fields)-1].end
	return edit{span{end, end}, fmt.Sprintf(",\n      %q: %s", key, value)}, nil
}

// appendEntry adds an entry in the indentation that DMR writes.
func (x *index) appendEntry(e entry) edit {
	e.Files = nonNil(e.Files)
	text := marshal(e, "    ")
	switch n := len(x.entries); {
	case n > 0:
		end := x.entries[n-1].raw.end
		return edit{span{end, end}, ",\n    " + text}
	case x.models.end > 0:
		return edit{x.models, "[\n    " + text + "\n  ]"}
	default:
		start := bytes.IndexByte(x.data, '{') + 1
		comma := ","
		if fields, err := spans(x.data, 0); err == nil && len(fields) == 0 {
			comma = "\n"
		}
		return edit{span{start, start}, "\n  \"models\": [\n    " + text + "\n  ]" + comma}
	}
}

// marshal writes a value as it stands at a given indentation.
func marshal(v any, prefix string) string {
	data, err := json.MarshalIndent(v, prefix, "  ")
	if err != nil {
		panic("modelstore: " + err.Error()) // strings and lists of strings marshal
	}
	return string(data)
}

// nonNil turns a nil list into an empty one, which is written [] and not null.
func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
