// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
)

// commitRequirement is a requirement that names a git commit.
type commitRequirement struct {
	name         string // normalised
	extras       string // with brackets, "" = none
	url          string // as git wants it
	commit       string // 40 hex digits
	subdirectory string
	marker       string
}

var (
	fromVCS    = regexp.MustCompile(`(?:^|@\s*)(git|hg|bzr|svn)\+`)
	commitLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*@\s*git\+(\S+?)(?:\s+;\s*(.*)|\s*;\s+(.*))?$`)
	fullCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)
	comment    = regexp.MustCompile(`(^|\s)#.*$`)
)

// parseCommit reads a line of requirements; false when it names no version
// control. Errors wrap [bundle.ErrInvalid].
func parseCommit(line string) (c commitRequirement, ok bool, err error) {
	line = strings.TrimSpace(comment.ReplaceAllString(line, ""))
	kind := fromVCS.FindStringSubmatch(line)
	if kind == nil {
		return c, false, nil
	}
	if kind[1] != "git" {
		return c, true, invalid("%s is not read, only git", kind[1])
	}
	m := commitLine.FindStringSubmatch(line)
	if m == nil {
		return c, true, invalid("want NAME @ git+https://HOST/REPOSITORY@COMMIT")
	}
	c = commitRequirement{name: target.NormalizeName(m[1]), extras: m[2], marker: m[4] + m[5]}
	if err := c.setURL(m[3]); err != nil {
		return c, true, fmt.Errorf("%s: %w", c.name, err)
	}
	return c, true, nil
}

// setURL takes REPOSITORY@COMMIT#subdirectory=PATH.
func (c *commitRequirement) setURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return invalid("the address does not parse")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "ssh" && u.Scheme != "file":
		return invalid("git+%s is not accepted, only git+https, git+ssh and git+file", u.Scheme)
	case u.RawQuery != "" || u.Path == "" || (u.Host == "") != (u.Scheme == "file"):
		return invalid("want git+https://HOST/REPOSITORY@COMMIT")
	}
	if _, secret := u.User.Password(); secret || u.Scheme == "https" && u.User != nil {
		return invalid("credentials do not belong into requirements; git has them from its own configuration")
	}
	if u.Fragment != "" {
		sub, ok := strings.CutPrefix(u.Fragment, "subdirectory=")
		if !ok || bundle.CheckPath(sub) != nil {
			return invalid("#%s is not read, only #subdirectory=PATH", u.Fragment)
		}
		c.subdirectory = sub
	}
	repository, revision, _ := strings.Cut(u.Path, "@")
	u.Path, u.RawPath, u.Fragment, u.RawFragment = repository, "", "", ""
	if !fullCommit.MatchString(revision) {
		return invalid("revision %q is no full commit, which alone always means the same files; 'git ls-remote %s' lists them", revision, u)
	}
	c.commit, c.url = revision, u.String()
	return nil
}

// invalid is an error that wraps [bundle.ErrInvalid].
func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), bundle.ErrInvalid)
}

// takeSources turns requirements of git commits into requirements of the wheels
// made of them, and returns the rows for the lock.
func (o ResolveOptions) takeSources(ctx context.Context, uv UV, file, requirements string, t *target.Target) (string, []Package, error) {
	lines := strings.Split(requirements, "\n")
	var rows []Package
	for i, line := range lines {
		c, ok, err := parseCommit(line)
		if err == nil && ok {
			lines[i], err = o.takeSource(ctx, uv, c, t, &rows)
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	return strings.Join(lines, "\n"), rows, nil
}

// takeSource returns the line that takes the place of a commit's.
func (o ResolveOptions) takeSource(ctx context.Context, uv UV, c commitRequirement, t *target.Target, rows *[]Package) (string, error) {
	applies, err := t.Eval(c.marker, target.Sets{})
	if err != nil || !applies {
		return "", err
	}
	if o.Sources == nil {
		return "", fmt.Errorf("%s: no wheels are made of git commits here: %w", c.name, bundle.ErrInvalid)
	}
	made, err := o.Sources.wheel(ctx, uv, c, o.Current, o.Events)
	if err != nil {
		return "", fmt.Errorf("%s at commit %s: %w", c.name, c.commit, err)
	}
	vcs := map[string]any{"type": "git", "url": c.url, "requested-revision": c.commit, "commit-id": c.commit}
	if c.subdirectory != "" {
		vcs["subdirectory"] = c.subdirectory
	}
	*rows = append(*rows, Package{Name: c.name, Version: made.version, VCS: vcs, Tool: map[string]any{
		"metalpack": map[string]any{"file": made.file, "size": made.size, "sha256": made.sha256},
	}})
	address := url.URL{Scheme: "file", Path: made.path}
	return fmt.Sprintf("%s%s @ %s", c.name, c.extras, &address), nil
}

// madeOf returns what a lock says was made of a commit.
func (l *Lock) madeOf(c commitRequirement) (madeWheel, bool) {
	if l == nil {
		return madeWheel{}, false
	}
	row, ok := l.row(c.name)
	if !ok || row.VCS == nil || row.VCS["commit-id"] != c.commit || row.VCS["url"] != c.url || text(row.VCS["subdirectory"]) != c.subdirectory {
		return madeWheel{}, false
	}
	return row.wheelMade()
}

// wheelMade returns the wheel that a row's source was made into.
func (p *Package) wheelMade() (madeWheel, bool) {
	table, ok := p.Tool["metalpack"].(map[string]any)
	if !ok {
		return madeWheel{}, false
	}
	size, _ := table["size"].(int64)
	return madeWheel{file: text(table["file"]), sha256: text(table["sha256"]), size: size, version: p.Version}, true
}

// text is a TOML string, "" for anything else.
func text(v any) string { s, _ := v.(string); return s }
