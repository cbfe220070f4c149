// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Command devtool makes the inputs that developers, the demo and the tests
// need and no user does:
//
//	go run ./internal/devtool interpreter -platform linux/amd64 -o FILE
//	go run ./internal/devtool tinymodel -o DIR
//	go run ./internal/devtool standin -o DIR
//	go run ./internal/devtool hub -model DIR -name ORG/NAME [-rate BYTES]
//
// It prints what it wrote and promises the same bytes on every host. hub serves
// a directory as a Hugging Face hub until it is interrupted, with a storage that
// sends so many bytes a second, and prints what HF_ENDPOINT has to be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/metalpack/metalpack/internal/embedpython"
	"github.com/metalpack/metalpack/internal/standin"
	"github.com/metalpack/metalpack/internal/tinymodel"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "devtool: error:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: devtool interpreter [-platform OS/ARCH] -o FILE | devtool tinymodel -o DIR | devtool standin -o DIR | devtool hub -model DIR -name ORG/NAME [-rate BYTES]")

// run dispatches on the first word.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	output := flags.String("o", "", "where to write")
	platform := flags.String("platform", goruntime.GOOS+"/"+goruntime.GOARCH, "os/arch of the interpreter")
	model := flags.String("model", "", "directory of the model to serve")
	name := flags.String("name", "", "its name on the hub")
	rate := flags.Int64("rate", 0, "bytes a second; 0 = no limit")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if (*output == "") == (*model == "") || (*model == "") != (args[0] != "hub") || flags.NArg() != 0 {
		return errUsage
	}
	switch args[0] {
	case "hub":
		return serveHub(ctx, *name, *model, *rate)
	case "interpreter":
		return interpreter(ctx, *platform, *output)
	case "tinymodel":
		if err := tinymodel.Write(*output); err != nil {
			return err
		}
		fmt.Println(*output)
		return nil
	case "standin":
		if err := standin.Write(*output); err != nil {
			return err
		}
		fmt.Println(*output)
		return nil
	}
	return errUsage
}

// interpreter writes the tar; a wrong one never gets the name.
func interpreter(ctx context.Context, platform, output string) error {
	out, err := embedpython.Find(platform)
	if err != nil {
		return err
	}
	module, err := embedpython.Module(ctx)
	if err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(output, renameio.WithTempDir(filepath.Dir(output)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // after the replacement there is nothing to remove
	if err := embedpython.Write(ctx, module, platform, f); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	fmt.Printf("%s sha256:%s\n", output, out.SHA256)
	return nil
}
