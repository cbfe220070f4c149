// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// maxToken is the cap on a token, in bytes.
const maxToken = 4 << 10

// Environment is the client that the variables of the hub's own programs
// describe: HF_ENDPOINT, and the token of HF_TOKEN, of the file HF_TOKEN_PATH
// or of $HF_HOME/token. No such file is no token. Errors: [bundle.ErrInvalid]
// for a token that cannot be one, or why the file cannot be read.
func Environment(getenv func(string) string) (*Client, error) {
	c := &Client{Endpoint: strings.TrimSpace(getenv("HF_ENDPOINT")), Token: strings.TrimSpace(getenv("HF_TOKEN"))}
	if c.Token != "" {
		return c, checkToken(c.Token, "HF_TOKEN")
	}
	file := getenv("HF_TOKEN_PATH")
	if home := homeDir(getenv); file == "" && home != "" {
		file = filepath.Join(home, "token")
	}
	if file == "" {
		return c, nil
	}
	var err error
	c.Token, err = readToken(file)
	return c, err
}

// homeDir is HF_HOME or where it lies by default; "" if nobody knows.
func homeDir(getenv func(string) string) string {
	if dir := getenv("HF_HOME"); dir != "" {
		return dir
	}
	cache := getenv("XDG_CACHE_HOME")
	if cache == "" && getenv("HOME") != "" {
		cache = filepath.Join(getenv("HOME"), ".cache")
	}
	if cache == "" {
		return ""
	}
	return filepath.Join(cache, "huggingface")
}

func readToken(file string) (_ string, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) { // a home like /dev/null holds nothing
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer fsatomic.CloseErr(&err, f)
	data, err := io.ReadAll(io.LimitReader(f, maxToken+2))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", nil
	}
	return token, checkToken(token, file)
}

// checkToken refuses what cannot stand in a header, without showing it.
func checkToken(token, from string) error {
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%s: no token of the hub: %w", from, bundle.ErrInvalid)
	}
	return nil
}
