// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
)

// maxQuestions caps how often uv is asked about one target.
const maxQuestions = 24

// index asks uv where the rest lies and downloads it.
func (j *job) index(ctx context.Context, missing []Want) ([]Want, error) {
	var rest []Want
	groups := make(map[string][]Want)
	var order []string
	for _, w := range missing {
		if w.Direct || w.Target == nil || !strings.HasSuffix(w.File, ".whl") || j.UV == nil {
			rest = append(rest, w)
			continue
		}
		key := w.Target.String()
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], w)
	}
	if len(order) == 0 {
		return rest, nil
	}
	uv, err := j.UV(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, key := range order {
		if err != nil {
			j.allBecause(groups[key], err)
			rest = append(rest, groups[key]...)
			continue
		}
		left, err := j.indexGroup(ctx, uv, groups[key])
		if err != nil {
			return nil, err
		}
		rest = append(rest, left...)
	}
	return rest, nil
}

func (j *job) allBecause(wants []Want, err error) {
	for _, w := range wants {
		j.because(w, err)
	}
}

// indexGroup fetches the files of one target.
func (j *job) indexGroup(ctx context.Context, uv lock.UV, wants []Want) ([]Want, error) {
	q := &question{job: j, uv: uv, places: make(map[string]lock.Location), left: maxQuestions}
	if err := q.ask(ctx, wants); err != nil {
		return nil, err
	}
	return j.each(ctx, wants, func(ctx context.Context, w Want) (bool, error) {
		place, ok := q.places[w.SHA256]
		switch {
		case !ok:
			return false, nil
		case place.URL == "":
			return j.copyFrom(ctx, w, place.Path)
		}
		return j.fromURL(ctx, w, place.URL)
	})
}

// question is what uv is asked about one target: where the files of pins lie.
// uv answers for all pins or for none, so that those it cannot resolve (gone,
// or never there) are asked for no more, and the others again.
type question struct {
	*job
	uv     lock.UV
	places map[string]lock.Location // by sha256
	left   int
}

// ask fills places, and the reasons of what has none.
func (q *question) ask(ctx context.Context, wants []Want) error {
	if len(wants) == 0 {
		return nil
	}
	if q.left == 0 {
		q.allBecause(wants, fmt.Errorf("uv cannot resolve too many of the pins, and was asked no more: %w", bundle.ErrNotFound))
		return nil
	}
	q.left--
	pins := make([]lock.Pin, 0, len(wants))
	for _, w := range wants {
		pins = append(pins, lock.Pin{Name: w.Name, Version: w.Version})
	}
	places, err := lock.Locate(ctx, q.uv, wants[0].Target, pins)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		q.answer(wants, places)
		return nil
	case !errors.Is(err, bundle.ErrInvalid): // no answer, rather than no solution
		q.allBecause(wants, err)
		return nil
	}
	bad, good := blamed(err, wants)
	switch {
	case len(bad) > 0:
		for _, w := range bad {
			q.because(w, fmt.Errorf("the index has no %s==%s that fits: %w: %w", w.Name, w.Version, bundle.ErrNotFound, err))
		}
		return q.ask(ctx, good)
	case len(wants) == 1:
		q.because(wants[0], err)
		return nil
	}
	half := len(wants) / 2
	if err := q.ask(ctx, wants[:half]); err != nil {
		return err
	}
	return q.ask(ctx, wants[half:])
}

// answer keeps the places of what was asked for.
func (q *question) answer(wants []Want, places map[string]lock.Location) {
	for _, w := range wants {
		if place, ok := places[w.SHA256]; ok {
			q.places[w.SHA256] = place
			continue
		}
		q.because(w, fmt.Errorf("the index has no file of this sha256 any more: %w", bundle.ErrNotFound))
	}
}

// pinPattern finds exact versions in what uv says.
var pinPattern = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]*[A-Za-z0-9]`)

// blamed parts the wants that uv's message names from the others.
func blamed(err error, wants []Want) (bad, good []Want) {
	named := make(map[string]bool)
	for _, pin := range pinPattern.FindAllString(err.Error(), -1) {
		named[pin] = true
	}
	for _, w := range wants {
		if named[w.Name+"=="+w.Version] {
			bad = append(bad, w)
		} else {
			good = append(good, w)
		}
	}
	return bad, good
}

// missing makes one error of all that was not got.
func (j *job) missing(missing []Want) error {
	e := &MissingError{Missing: missing}
	for _, w := range missing {
		err := j.reasons[w.SHA256]
		switch {
		case err != nil:
		case j.Offline:
			err = fmt.Errorf("offline, and neither the cache nor a directory has them: %w", bundle.ErrUnreachable)
		default:
			err = fmt.Errorf("neither the cache nor a directory has them, and they have no address: %w", bundle.ErrNotFound)
		}
		e.Reasons = append(e.Reasons, err)
	}
	return e
}
