// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// readMetadata holds METADATA and WHEEL against the file name.
func (w *Wheel) readMetadata(name, ver string) error {
	meta, err := w.text("METADATA")
	if err != nil {
		return err
	}
	names, versions := headers(meta, "Name"), headers(meta, "Version")
	if len(names) != 1 || len(versions) != 1 {
		return invalid("METADATA: %d Name and %d Version fields, want one each", len(names), len(versions))
	}
	if Normalize(names[0]) != Normalize(name) || !sameVersion(ver, versions[0]) {
		return invalid("METADATA: is of %q %q, the file name says %s %s", clip(names[0]), clip(versions[0]), name, ver)
	}
	w.Name, w.Version = Normalize(name), versions[0]
	about, err := w.text("WHEEL")
	if err != nil {
		return err
	}
	formats := headers(about, "Wheel-Version")
	if len(formats) != 1 {
		return invalid("WHEEL: %d Wheel-Version fields, want one", len(formats))
	}
	format := wheelFormat.FindStringSubmatch(formats[0])
	if format == nil || format[1] != "1" {
		return invalid("WHEEL: Wheel-Version %q, this program reads 1.x", clip(formats[0]))
	}
	w.Newer = strings.Trim(format[2], ".0") != ""
	if pure := headers(about, "Root-Is-Purelib"); len(pure) != 1 || !strings.EqualFold(pure[0], "true") && !strings.EqualFold(pure[0], "false") {
		return invalid("WHEEL: %d Root-Is-Purelib fields, want one that is true or false", len(pure))
	}
	return nil
}

// text reads a file of the metadata directory, verified.
func (w *Wheel) text(name string) ([]byte, error) {
	m, ok := w.find(w.distInfo + "/" + name)
	if !ok {
		return nil, invalid("%s: missing", name)
	}
	if m.size > maxMetadata {
		return nil, invalid("%s: %d bytes, more than %d", name, m.size, maxMetadata)
	}
	if err := w.budget.spend(0, m.size); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	rc := w.verified(m)
	data, err := io.ReadAll(rc)
	if err := errors.Join(err, rc.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// headers returns the values of a field in the head of an e-mail like file.
func headers(data []byte, field string) (values []string) {
	for line := range bytes.Lines(data) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if ok && strings.EqualFold(string(key), field) {
			values = append(values, string(bytes.TrimSpace(value)))
		}
	}
	return values
}

// made is a file that does not come from the archive.
func (w *Wheel) made(p string, content []byte, mode uint32) File {
	return File{Path: p, Mode: mode, Size: int64(len(content)), SHA256: digest.FromBytes(content).Encoded(), content: content}
}

// spread decides where every member goes.
func (w *Wheel) spread() error {
	var commands map[string][]byte
	if _, ok := w.find(w.distInfo + "/entry_points.txt"); ok {
		data, err := w.text("entry_points.txt")
		if err == nil {
			if commands, err = parseEntryPoints(data, w.python); err != nil {
				err = fmt.Errorf("entry_points.txt: %w", err)
			}
		}
		if err != nil {
			return fmt.Errorf("%s/%w", w.distInfo, err)
		}
	}
	w.files = make([]File, 0, len(w.arch.members)+len(commands)+2)
	for i := range w.arch.members {
		m := &w.arch.members[i]
		if m.dir {
			continue
		}
		if err := w.place(m, commands); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	for name, script := range commands {
		if err := w.budget.spend(0, int64(len(script))); err != nil {
			return fmt.Errorf("bin/%s: %w", name, err)
		}
		w.files = append(w.files, w.made("bin/"+name, script, bundle.ModeExecutable))
	}
	w.files = append(w.files, w.made(w.MetadataDir()+"/INSTALLER", []byte(installer), bundle.ModeFile))
	if w.origin != nil {
		w.files = append(w.files, w.made(w.MetadataDir()+"/direct_url.json", w.origin, bundle.ModeFile))
	}
	seen := make(map[string]bool, len(w.files)+1)
	seen[w.MetadataDir()+"/RECORD"] = true
	for _, f := range w.files {
		if seen[f.Path] {
			return invalid("two files of the wheel are installed as %q", f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

// place adds one member to the files, unless the installer writes that file
// itself.
func (w *Wheel) place(m *member, commands map[string][]byte) error {
	if rest, ok := strings.CutPrefix(m.name, w.distInfo+"/"); ok {
		switch rest {
		case "RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json":
			return nil
		}
	}
	f := File{Mode: bundle.ModeFile, Size: m.size, SHA256: m.sum, member: m, wheel: w}
	if m.exec {
		f.Mode = bundle.ModeExecutable
	}
	p, script, err := w.destination(m.name)
	if err != nil {
		return err
	}
	f.Path = p
	if strings.HasSuffix(p, m.name) {
		m.name = p[len(p)-len(m.name):] // one name in memory, not two
	}
	if skip, err := w.checkPlace(p); skip || err != nil {
		return err
	}
	if script {
		name := strings.TrimPrefix(p, "bin/")
		if shadowed(name, commands) {
			return nil
		}
		if f, err = w.script(f, m); err != nil {
			return err
		}
	}
	w.files = append(w.files, f)
	return nil
}

// destination returns where a member goes and whether it is a script.
func (w *Wheel) destination(name string) (p string, script bool, err error) {
	top, rest, _ := strings.Cut(name, "/")
	stem := strings.TrimSuffix(w.distInfo, ".dist-info")
	if !strings.HasSuffix(top, ".data") || rest == "" {
		return path.Join(w.site(), name), false, nil
	}
	if top != stem+".data" {
		return "", false, invalid("a .data directory that is not %s.data", stem)
	}
	key, rest, _ := strings.Cut(rest, "/")
	if rest == "" {
		return "", false, invalid("a file in place of a directory")
	}
	switch key {
	case "purelib", "platlib":
		return path.Join(w.site(), rest), false, nil
	case "headers":
		return path.Join("include", "python"+w.python, w.Name, rest), false, nil
	case "data":
		return rest, false, nil
	case "scripts":
		return path.Join("bin", rest), true, checkCommand(rest)
	}
	return "", false, invalid("unknown key %q under .data", key)
}

// checkPlace refuses places where a wheel has no business and what runs at every
// start. It reports whether the file is to be left out.
func (w *Wheel) checkPlace(p string) (skip bool, err error) {
	if err := bundle.CheckPath(p); err != nil {
		return false, err
	}
	module, inSite := strings.CutPrefix(p, w.site()+"/")
	folded := strings.ToLower(p)
	top, rest, _ := strings.Cut(module, "/")
	switch {
	case folded == bundle.MetadataDir || strings.HasPrefix(folded, bundle.MetadataDir+"/"):
		return false, invalid("a file in %s/, which describes the environment", bundle.MetadataDir)
	case !inSite && (strings.HasPrefix(folded, "lib/python"+w.python+"/") || strings.HasPrefix(folded+"/", w.zipped())):
		return false, invalid("a file in the standard library")
	case strings.HasPrefix(folded, "bin/"):
		if err := checkCommand(p[len("bin/"):]); err != nil {
			return false, err
		}
	case inSite && metadata.MatchString(top) && (top != w.distInfo || rest == ""):
		return false, invalid("a file in the metadata of another package")
	}
	switch rule := broken(module, inSite); {
	case rule == "":
		return false, nil
	case !w.Waived(rule, p):
		return false, invalid("refused by rule %s, which a recipe can waive", rule)
	default:
		return rule == RulePycache && strings.Contains(folded, "__pycache__/"), nil
	}
}

// broken returns the rule that a file breaks, or "". p is relative to
// site-packages or, outside of it, to the root.
func broken(p string, inSite bool) string {
	folded := bundle.CollisionKey(p)
	switch ext := path.Ext(folded); {
	case strings.HasPrefix(folded, "__pycache__/"), strings.Contains(folded, "/__pycache__/"), ext == ".pyc", ext == ".pyo":
		return RulePycache
	case inSite && ext == ".pth" && !strings.Contains(p, "/"):
		return RulePth
	case startsUp(folded):
		return RuleStartup
	}
	return ""
}

// startsUp reports whether the interpreter obeys a file at every start. By
// pybuilddir.txt it takes itself for a build tree and finds its library elsewhere.
func startsUp(folded string) bool {
	top, _, _ := strings.Cut(folded, "/")
	if module, _, _ := strings.Cut(top, "."); module == "sitecustomize" || module == "usercustomize" {
		return true
	}
	name := strings.TrimPrefix(folded, "bin/")
	return name == "pyvenv.cfg" || name == "pybuilddir.txt" || strings.HasSuffix(name, "._pth") && !strings.Contains(name, "/")
}

// shadowed reports whether an entry point's launcher takes the place of a
// script.
func shadowed(script string, commands map[string][]byte) bool {
	name := script
	for _, suffix := range []string{".exe", "-script.py", ".pya"} {
		if strings.HasSuffix(strings.ToLower(script), suffix) {
			name = script[:len(script)-len(suffix)]
		}
	}
	return commands[script] != nil || commands[name] != nil
}

// script makes a script executable, and relocatable if it asks for that by the
// line "#!python".
func (w *Wheel) script(f File, m *member) (File, error) {
	f.Mode = bundle.ModeExecutable
	const mark = "#!python"
	if m.size < int64(len(mark)) {
		return f, nil
	}
	rc := w.verified(m)
	head := make([]byte, len(mark))
	_, err := io.ReadFull(rc, head)
	if err == nil && string(head) != mark {
		return f, rc.Close()
	}
	if w.scripts += m.size; err == nil && w.scripts > maxScripts {
		err = invalid("it and the other scripts to be rewritten have more than %d bytes", maxScripts)
	}
	if err == nil {
		err = w.budget.spend(0, m.size)
	}
	var rest []byte
	if err == nil {
		rest, err = io.ReadAll(rc)
	}
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return f, err
	}
	content, _ := rewriteScript(w.python, slices.Concat(head, rest))
	return w.made(f.Path, content, bundle.ModeExecutable), nil
}
