// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package wheel owns the reading of Python wheels: what a wheel file holds and
// where each file of it goes in an environment.
//
// Start with [Open], then [Wheel.Files].
//
// # How it works
//
// A wheel is a ZIP archive with a *.dist-info directory (the binary distribution
// format of the PyPA specifications, PEP 427 and its successors). Open reads the
// central directory, every local header and the few metadata files; sizes and
// hashes of all others come from RECORD, so that nothing is inflated to plan an
// environment. [File.Open] inflates one file straight from the archive.
//
// # Promises
//
// It is strict where pip and uv are lax. Every byte of the archive belongs to one
// member; both headers of a member agree; no name appears twice, leaves the
// archive or means another file on another system. RECORD lists every file with
// size and sha256, no more and no less, and each stream that File.Open returns
// ends with an error unless it is what RECORD says. Code that would run at every
// start of the interpreter and foreign byte code are refused. Some of this can
// be waived by rule name, which the recipe records with a reason. Errors name
// wheel and member and wrap [bundle.ErrInvalid] or [bundle.ErrMismatch].
package wheel

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// Rules that a recipe can waive for a package.
const (
	RulePth     = "pth"     // *.pth in site-packages runs at every start; waived: it is installed
	RulePycache = "pycache" // foreign byte code; waived: __pycache__ is left out, other .pyc are installed
	RuleRecord  = "record"  // RECORD disagrees with the files; waived: the files count
	RuleStdlib  = "stdlib"  // a top-level module with a name of the standard library, which package builder looks for; waived: it is installed
	RuleStartup = "startup" // sitecustomize, usercustomize, pyvenv.cfg, *._pth; waived: they are installed
)

// Rules lists the rules that can be waived.
func Rules() []string { return []string{RulePth, RulePycache, RuleRecord, RuleStartup, RuleStdlib} }

// Caps on files that are read whole.
const (
	maxRecord   = 32 << 20
	maxMetadata = 8 << 20
	maxScripts  = 4 << 20 // together, of those that are rewritten
)

// maxNamed is how many things of a kind an error names.
const maxNamed = 5

// installer is the content of INSTALLER.
const installer = "metalpack\n"

// Options says how a wheel is read. The zero value is useful.
type Options struct {
	Python string   // major.minor of the interpreter; "" = 3.12
	Waive  []Waiver // rules that do not count for this wheel
	Origin Origin   // where it comes from if it is on no index: written as direct_url.json
	SHA256 string   // of the wheel, hex; with Origin
	Budget *Budget  // shared by the wheels of an environment; nil = one of its own
}

// Wheel is an opened wheel.
type Wheel struct {
	File    string // file name
	Name    string // normalised project name
	Version string // as in METADATA
	Newer   bool   // of a newer minor version of the format than this program knows

	python   string
	siteDir  string
	waivers  []Waiver
	used     []bool // of waivers: something broke the rule
	origin   []byte // direct_url.json; nil = none
	arch     *archive
	distInfo string         // the one top-level *.dist-info directory
	rows     map[string]row // nil when the wheel is open
	files    []File         // what is installed, RECORD excepted
	budget   *Budget
	scripts  int64 // bytes of those that were rewritten
}

// File is one file as it is installed.
type File struct {
	Path   string // relative to the environment's root
	Mode   uint32 // [bundle.ModeFile] or [bundle.ModeExecutable]
	Size   int64
	SHA256 string // hex

	content []byte // of a file that is not in the archive
	member  *member
	wheel   *Wheel
}

// Open reads a wheel of size bytes whose file name is file. r must stay open as
// long as the wheel is used. Errors wrap [bundle.ErrInvalid] or
// [bundle.ErrMismatch], or are those of r.
func Open(r io.ReaderAt, size int64, file string, o Options) (*Wheel, error) {
	w := &Wheel{File: file, python: o.Python, waivers: o.Waive, used: make([]bool, len(o.Waive)), budget: o.Budget}
	if w.budget == nil {
		w.budget = NewBudget(0, 0)
	}
	if w.python == "" {
		w.python = "3.12"
	}
	w.siteDir = "lib/python" + w.python + "/site-packages"
	var err error
	if w.origin, err = o.Origin.directURL(o.SHA256); err == nil {
		err = w.open(r, size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return w, nil
}

func (w *Wheel) open(r io.ReaderAt, size int64) error {
	if err := w.checkWaivers(); err != nil {
		return err
	}
	name, ver, err := splitFileName(w.File)
	if err != nil {
		return err
	}
	if w.arch, err = readArchive(r, size, w.budget); err != nil {
		return err
	}
	if err := w.findDistInfo(name, ver); err != nil {
		return err
	}
	if err := w.readRecord(); err != nil {
		return fmt.Errorf("%s/RECORD: %w", w.distInfo, err)
	}
	if err := w.readMetadata(name, ver); err != nil {
		return fmt.Errorf("%s/%w", w.distInfo, err)
	}
	err = w.spread()
	w.arch.byName, w.rows = nil, nil
	return err
}

// site is where modules go, relative to the root.
func (w *Wheel) site() string { return w.siteDir }

// zipped is where the interpreter looks for its whole library before it looks
// into the directory, an archive or not.
func (w *Wheel) zipped() string {
	return "lib/python" + strings.ReplaceAll(w.python, ".", "") + ".zip/"
}

// findDistInfo finds the one metadata directory and holds its name against the
// file name.
func (w *Wheel) findDistInfo(name, ver string) error {
	tops := map[string]bool{}
	for i := range w.arch.members {
		top, _, _ := strings.Cut(w.arch.members[i].name, "/")
		if strings.HasSuffix(strings.ToLower(top), ".dist-info") {
			tops[top] = true
		}
	}
	found := slices.Sorted(maps.Keys(tops))
	if len(found) != 1 {
		return invalid("%d .dist-info directories %q, want one", len(found), found[:min(len(found), maxNamed)])
	}
	w.distInfo = found[0]
	n, v, ok := strings.Cut(strings.TrimSuffix(found[0], ".dist-info"), "-")
	if !ok || Normalize(n) != Normalize(name) || !sameVersion(ver, v) {
		return invalid("%s: not the name and version of the file", found[0])
	}
	return nil
}

// find returns a member by its name.
func (w *Wheel) find(name string) (*member, bool) {
	i, ok := w.arch.byName[name]
	if !ok || w.arch.members[i].dir {
		return nil, false
	}
	return &w.arch.members[i], true
}

// readRecord reads RECORD and holds it against the members.
func (w *Wheel) readRecord() error {
	own := w.distInfo + "/RECORD"
	m, ok := w.find(own)
	if !ok {
		return invalid("missing")
	}
	if m.size > maxRecord {
		return invalid("%d bytes, more than %d", m.size, maxRecord)
	}
	if err := w.budget.spend(0, m.size); err != nil {
		return err
	}
	data, err := readExactly(w.arch.open(m), m.size)
	if err != nil {
		return err
	}
	if err := w.budget.spend(int64(bytes.Count(data, []byte("\n"))), 0); err != nil {
		return err
	}
	if crc32.ChecksumIEEE(data) != m.crc { // nothing else says what RECORD is
		return fmt.Errorf("wrong CRC-32: %w", bundle.ErrMismatch)
	}
	if w.rows, err = parseRecord(data, own); err != nil {
		return err
	}
	listed := 0
	for i := range w.arch.members {
		m := &w.arch.members[i]
		if m.dir {
			continue
		}
		r, ok := w.rows[m.name]
		if ok {
			listed++
		}
		if m.name == own || m.name == own+".jws" || m.name == own+".p7s" {
			continue
		}
		if err := w.checkRow(m, r, ok); err != nil {
			return err
		}
		m.sum = w.rows[m.name].sum
	}
	if listed != len(w.rows) {
		return w.missing()
	}
	return nil
}

// missing names a row that has no file, unless all of them are waived.
func (w *Wheel) missing() error {
	var names []string
	for name := range w.rows {
		if _, ok := w.find(name); !ok && !w.Waived(RuleRecord, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return invalid("lists %q, which is not in the wheel (%d such rows)", names[0], len(names))
}

// checkRow holds one member against its row. With the rule waived the row is
// made from the member.
func (w *Wheel) checkRow(m *member, r row, ok bool) error {
	if i := w.waiver(RuleRecord, m.name); i >= 0 {
		sum, err := w.hash(m)
		if !ok || r.sum != sum || r.size >= 0 && r.size != m.size {
			w.used[i] = true
		}
		w.rows[m.name] = row{sum: sum, size: m.size}
		return err
	}
	switch {
	case !ok:
		return invalid("does not list %q", m.name)
	case r.sum == "":
		return invalid("gives no sha256 for %q", m.name)
	case r.size >= 0 && r.size != m.size:
		return fmt.Errorf("gives %d bytes for %q, which has %d: %w", r.size, m.name, m.size, bundle.ErrMismatch)
	}
	return nil
}

// hash inflates a member and returns its sha256.
func (w *Wheel) hash(m *member) (string, error) {
	rc := w.arch.open(m)
	d := digest.SHA256.Digester()
	n, err := io.Copy(d.Hash(), io.LimitReader(rc, m.size+1))
	if err == nil && n != m.size { // before Close, which fails for a stream that nobody wants to its end
		err = fmt.Errorf("inflates to other than %d bytes: %w", m.size, bundle.ErrMismatch)
	}
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", fmt.Errorf("%q: %w", m.name, err)
	}
	return d.Digest().Encoded(), nil
}

// readExactly reads a stream that must have n bytes, a number that was capped.
func readExactly(rc io.ReadCloser, n int64) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, 0, n+1+bytes.MinRead)) // which it does not outgrow
	_, err := data.ReadFrom(io.LimitReader(rc, n+1))
	if err == nil && int64(data.Len()) != n { // before Close, as above
		err = fmt.Errorf("inflates to other than %d bytes: %w", n, bundle.ErrMismatch)
	}
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	return data.Bytes(), err
}

// Files returns what the wheel installs, sorted by path: its files at their
// places, launchers for its entry points, INSTALLER, and the RECORD of exactly
// these. drop leaves files out; nil keeps all.
func (w *Wheel) Files(drop func(path string) bool) ([]File, error) {
	kept := make([]File, 0, len(w.files)+1)
	for _, f := range w.files {
		if drop == nil || !drop(f.Path) {
			kept = append(kept, f)
		}
	}
	own := path.Join(w.site(), w.distInfo, "RECORD")
	data, err := encodeRecord(kept, w.site(), own)
	if err != nil {
		return nil, fmt.Errorf("%s: RECORD: %w", w.File, err)
	}
	kept = append(kept, w.made(own, data, bundle.ModeFile))
	slices.SortFunc(kept, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return kept, nil
}

// MetadataDir is the wheel's *.dist-info directory as it is installed.
func (w *Wheel) MetadataDir() string { return path.Join(w.site(), w.distInfo) }
