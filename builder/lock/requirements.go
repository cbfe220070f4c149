// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
)

// hashedPin is one requirement of a requirements file with hashes.
type hashedPin struct {
	line    int
	name    string // normalised
	version string // "" for a URL
	url     string // "" for an index
	marker  string
	sums    []string // sha256 in hex, at least one
}

var (
	hashOption = regexp.MustCompile(`\s--hash(?:=|\s+)(\S+)`)
	pinLine    = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(===|==|@)\s*([^\s;]+)\s*(?:;\s*(.*))?$`)
	nameOnly   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*`)
	sha256Hex  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// parseHashed reads a requirements file in which every requirement is an exact
// version or a URL, with hashes. Whatever else it may hold elsewhere is refused
// with its line. Errors wrap [bundle.ErrInvalid].
func parseHashed(file string, data []byte) ([]hashedPin, error) {
	if len(data) > maxLock {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", file, maxLock, bundle.ErrInvalid)
	}
	var pins []hashedPin
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		first := i
		parts := []string{comment.ReplaceAllString(lines[i], "")}
		for strings.HasSuffix(lastOf(parts), `\`) && i+1 < len(lines) {
			i++
			parts[len(parts)-1] = strings.TrimSuffix(lastOf(parts), `\`)
			parts = append(parts, comment.ReplaceAllString(lines[i], ""))
		}
		text := strings.TrimSpace(strings.Join(parts, " "))
		if text == "" || text == "--require-hashes" {
			continue
		}
		pin, err := parsePin(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w: %w", file, first+1, err, bundle.ErrInvalid)
		}
		pin.line = first + 1
		pins = append(pins, pin)
	}
	if len(pins) == 0 {
		return nil, fmt.Errorf("%s: names no package: %w", file, bundle.ErrInvalid)
	}
	return pins, nil
}

func lastOf(list []string) string { return list[len(list)-1] }

// parsePin reads one requirement with its hashes.
func parsePin(text string) (hashedPin, error) {
	if strings.HasPrefix(text, "-") {
		option, _, _ := strings.Cut(strings.Fields(text)[0], "=")
		return hashedPin{}, fmt.Errorf("%s is not accepted: a lock names files, and indexes are configured in uv", option)
	}
	var p hashedPin
	for _, m := range hashOption.FindAllStringSubmatch(text, -1) {
		algorithm, sum, _ := strings.Cut(m[1], ":")
		if algorithm != "sha256" || !sha256Hex.MatchString(sum) {
			return p, fmt.Errorf("hash %q: want sha256: and 64 lower-case hex digits", m[1])
		}
		p.sums = append(p.sums, sum)
	}
	text = strings.TrimSpace(hashOption.ReplaceAllString(text, ""))
	name := nameOnly.FindString(text)
	m := pinLine.FindStringSubmatch(text)
	switch {
	case strings.Contains(text, " --"):
		return p, fmt.Errorf("%s: of options only --hash is accepted", name)
	case m == nil || m[2] == "===" || strings.ContainsAny(m[3], "*,") && m[2] == "==":
		return p, fmt.Errorf("%q is not pinned: want NAME==VERSION", text)
	}
	p.name, p.marker = target.NormalizeName(m[1]), m[4]
	if m[2] == "==" {
		p.version = m[3]
	} else if err := p.setURL(m[3]); err != nil {
		return p, err
	}
	if len(p.sums) == 0 {
		return p, fmt.Errorf("%s has no hash: make the file with hashes, like 'uv pip compile --generate-hashes'", name)
	}
	return p, nil
}

// setURL takes the address of a wheel, whose fragment may hold its hash.
func (p *hashedPin) setURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" && u.Scheme != "file":
		return fmt.Errorf("%s: the address does not parse", p.name)
	case strings.Contains(u.Scheme, "+"):
		return fmt.Errorf("%s: %s has no content hash; name the commit in the recipe's requirements", p.name, u.Scheme)
	case u.Scheme != "https":
		return fmt.Errorf("%s: %s: is no address for a lock, only https", p.name, u.Scheme)
	case u.User != nil:
		return fmt.Errorf("%s: credentials do not belong into a lock", p.name)
	}
	if sum, ok := strings.CutPrefix(u.Fragment, "sha256="); ok {
		if !sha256Hex.MatchString(sum) {
			return fmt.Errorf("%s: sha256 %q: want 64 lower-case hex digits", p.name, sum)
		}
		if len(p.sums) > 0 && !slices.Contains(p.sums, sum) {
			return fmt.Errorf("%s: its address and its --hash contradict one another", p.name)
		}
		p.sums = []string{sum}
	}
	if len(p.sums) > 1 {
		return fmt.Errorf("%s: one file has one sha256, here are %d", p.name, len(p.sums))
	}
	u.Fragment, u.RawFragment = "", ""
	p.url = u.String()
	parsed, err := target.ParseWheelName(path.Base(u.Path))
	if err != nil {
		return fmt.Errorf("%s is no wheel, and nothing is compiled here", path.Base(u.Path))
	}
	p.version = parsed.Version
	return nil
}
