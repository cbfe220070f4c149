// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/recipes"
)

// parseSource reads a reference of the command line.
func parseSource(word, namespace string) (bundle.Reference, error) {
	ref, err := bundle.ParseSource(word, namespace)
	if err != nil {
		err = localHint(edge.Errorf(edge.ErrUsage, "%w", err), word)
	}
	return ref, err
}

// localHint says how what a word names on this machine is written, if it was
// taken for a place in a registry.
func localHint(err error, word string) error {
	switch {
	case word == "":
	case exists(filepath.Join(word, "oci-layout")):
		return edge.WithHint(err, "for the layout in the directory %s write %s", word, edge.Quote("oci:"+word))
	case exists(filepath.Join(word, "config.json")):
		return edge.WithHint(err, "'metalpack model lint %s' says what is wrong with the model in that directory, 'metalpack model build %s -o DEST' makes an artifact of it", edge.Quote(word), edge.Quote(word))
	case exists(filepath.Join(word, recipes.FileName)):
		return edge.WithHint(err, "'metalpack build %s -o DEST' makes an artifact of the recipe in that directory", edge.Quote(word))
	case exists(word) && !isDir(word):
		return edge.WithHint(err, "for the archive in the file %s write %s", word, edge.Quote("oci-archive:"+word))
	case isPath(word) && !exists(word):
		return edge.WithHint(err, "there is no %s; what lies on this machine is written oci:DIR:TAG or oci-archive:FILE", word)
	}
	return err
}

// placeHint says what a path is, if the transport before it is not that of what
// is there.
func placeHint(err error, ref bundle.Reference) error {
	layout := ref.Transport == bundle.TransportLayout && exists(ref.Path) && !exists(filepath.Join(ref.Path, "oci-layout"))
	if layout || ref.Transport == bundle.TransportArchive && isDir(ref.Path) {
		return localHint(err, ref.Path)
	}
	return err
}

// parseDest reads the destination of a verb.
func parseDest(verb, flag, dest, namespace string) (bundle.Reference, error) {
	if dest == "" {
		return bundle.Reference{}, edge.Usagef("%s: missing %s DEST, like %s oci:out:latest or %s docker://registry/org/name:tag", verb, flag, flag, flag)
	}
	ref, err := bundle.ParseDestination(dest, namespace)
	if err == nil && ref.Digest != "" {
		err = fmt.Errorf("destination %q: a digest cannot be chosen, only a tag: %w", dest, bundle.ErrInvalid)
	}
	if err != nil {
		return ref, edge.Errorf(edge.ErrUsage, "%w", err)
	}
	switch ref.Transport {
	case bundle.TransportLayout:
		err = checkLayout(ref)
	case bundle.TransportArchive:
		err = checkArchive(ref)
	default:
	}
	return ref, err
}

// checkLayout refuses a directory that holds something else before anything is
// built for it; the layout's writer looks again.
func checkLayout(ref bundle.Reference) error {
	entries, err := os.ReadDir(ref.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return nil
	case exists(ref.Path) && !isDir(ref.Path):
		return edge.WithHint(edge.Errorf(bundle.ErrInvalid, "destination %s: %s is a file", ref, ref.Path), "name a directory, or write %s for an archive in one file", edge.Quote("oci-archive:"+ref.Path))
	case err != nil:
		return fmt.Errorf("destination %s: %w", ref, err)
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "oci-layout" }) {
		return edge.WithHint(edge.Errorf(bundle.ErrInvalid, "destination %s: the directory %s is neither empty nor an OCI image layout", ref, ref.Path), "name a new directory")
	}
	return nil
}

// isEmpty reports whether a reference is to an empty directory, which becomes a
// layout when it is written to.
func isEmpty(ref bundle.Reference) bool {
	entries, err := os.ReadDir(ref.Path)
	return ref.Transport == bundle.TransportLayout && err == nil && len(entries) == 0
}

// checkArchive does the same for a file: it is new, in a directory that is
// there, or an archive.
func checkArchive(ref bundle.Reference) error {
	dir := filepath.Dir(ref.Path)
	_, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return edge.WithHint(edge.Errorf(bundle.ErrInvalid, "destination %s: there is no directory %s", ref, dir), "mkdir -p %s", edge.Quote(dir))
	case err != nil:
		return fmt.Errorf("destination %s: %w", ref, err)
	case !isDir(dir):
		return edge.WithHint(edge.Errorf(bundle.ErrInvalid, "destination %s: %s is a file", ref, dir), "name another directory")
	case isDir(ref.Path):
		return edge.WithHint(edge.Errorf(bundle.ErrInvalid, "destination %s: %s is a directory", ref, ref.Path), "name a file, or write %s for a layout in a directory", edge.Quote("oci:"+ref.Path))
	case !exists(ref.Path):
		return nil
	}
	_, closeSource, err := transports.OpenSource(ref, remote.Options{})
	if err != nil {
		return edge.WithHint(fmt.Errorf("destination %w", err), "name a new file")
	}
	return closeSource()
}

// checkDirs refuses what a flag calls directories and what are none: nothing
// would be found there, and nobody would hear of it.
func checkDirs(flag string, dirs []string) error {
	for _, dir := range dirs {
		switch _, err := os.Stat(dir); {
		case errors.Is(err, fs.ErrNotExist):
			return edge.Errorf(bundle.ErrNotFound, "%s %s: no such directory", flag, dir)
		case err != nil:
			return fmt.Errorf("%s: %w", flag, err)
		case !isDir(dir):
			return edge.WithHint(edge.Usagef("%s %s: not a directory", flag, dir), "name the directory that it lies in")
		}
	}
	return nil
}

// checkPlatforms refuses what no --platform can be.
func checkPlatforms(words []string) error {
	for _, word := range words {
		if _, err := bundle.ParsePlatform(word); err != nil {
			return edge.Errorf(edge.ErrUsage, "--platform: %w", err)
		}
	}
	return nil
}

// havePlatforms is an error that wraps [bundle.ErrUnsupportedHost] if one that
// is wanted is none of those there are.
func havePlatforms(lacks string, wanted, have []string) error {
	for _, w := range wanted {
		if !slices.Contains(have, w) {
			return edge.WithHint(edge.Errorf(bundle.ErrUnsupportedHost, "%s %s, only %s", lacks, w, strings.Join(slices.Compact(have), ", ")), "name one of these")
		}
	}
	return nil
}

// isHub reports whether a word names a model on the Hugging Face hub. One that
// could be a directory, too, is the directory.
func isHub(word string) bool {
	return hub.IsReference(word) && !exists(word)
}

// isArtifact reports whether a word names its transport or its registry. One
// that does neither, or is there, is a directory: nobody who mistypes its name
// wants to hear from Docker Hub.
func isArtifact(word string) bool {
	if exists(word) || isPath(word) {
		return false
	}
	for _, t := range []bundle.Transport{bundle.TransportDocker, bundle.TransportLayout, bundle.TransportArchive} {
		if strings.HasPrefix(word, string(t)+":") {
			return true
		}
	}
	host, _, ok := strings.Cut(word, "/")
	return ok && (strings.ContainsAny(host, ".:") || host == "localhost")
}

// isPath reports whether a word is written as a path.
func isPath(word string) bool {
	return word == "." || word == ".." || strings.HasPrefix(word, "/") || strings.HasPrefix(word, "./") || strings.HasPrefix(word, "../")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
