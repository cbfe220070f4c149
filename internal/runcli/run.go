// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"flag"
	"net/url"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
)

type runOptions struct {
	serveOptions
	endpoint  string
	maxTokens int
}

func (a *app) runVerb() verb {
	o := runOptions{}
	return verb{
		name: "run", remote: true, args: "MODEL [PROMPT]", short: "chat with a model, or get one answer",
		long: "MODEL is a name of 'metalrun list', or a reference as 'metalrun pull' takes it: what the\n" +
			"store does not have is pulled. Without a PROMPT every line of stdin is one turn of a chat,\n" +
			"up to an empty one; with --json every answer is one line then. What fails at a terminal is\n" +
			"told, and the chat goes on without that turn. The engine is that of an installed environment\n" +
			"and lives as long as the command, unless --endpoint names a running 'metalrun serve'.",
		example: "metalrun run ai/smollm2 \"Why is the sky blue?\"\n  metalrun run hf.co/mlx-community/SmolLM2-135M-Instruct-4bit",
		flags: func(fs *flag.FlagSet) {
			envFlag(fs, &o.env)
			fs.StringVar(&o.engine, "engine", "", "launch `profile`, when the environment has several")
			fs.StringVar(&o.endpoint, "endpoint", "", "use the server at this `address`, like http://"+defaultAddr)
			fs.IntVar(&o.maxTokens, "max-tokens", 0, "end the answer after so many `tokens` (0: as the engine does)")
		},
		run: func(ctx context.Context, args []string) error { return a.runRun(ctx, args, o) },
	}
}

// validate checks the command line, and makes the endpoint an address.
func (o *runOptions) validate(args []string) (err error) {
	if len(args) < 2 {
		err = edge.WantArgs("run", args, "MODEL")
	} else {
		err = edge.WantArgs("run", args, "MODEL", "PROMPT")
	}
	switch {
	case err != nil:
		return err
	case o.maxTokens < 0:
		return edge.Usagef("run: --max-tokens %d: want 0 or more", o.maxTokens)
	case o.endpoint == "":
		return nil
	case o.env != "" || o.engine != "":
		return edge.Usagef("run: --env and --engine choose what is started here: the server at --endpoint runs already")
	}
	o.endpoint, err = endpointAddress(o.endpoint)
	return err
}

// endpointAddress reads the address of a server, as serve prints it, as it
// takes it for --addr, or as clients want it, with /v1.
func endpointAddress(word string) (string, error) {
	address := word
	if !strings.Contains(word, "://") {
		address = "http://" + word
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", edge.Usagef("run: endpoint %q: want an address like http://%s", word, defaultAddr)
	}
	return strings.TrimSuffix(strings.TrimRight(address, "/"), "/v1"), nil
}

func (a *app) runRun(ctx context.Context, args []string, o runOptions) (err error) {
	if err := o.validate(args); err != nil {
		return err
	}
	name, err := localName(args[0])
	if err != nil {
		return err
	}
	var own *witness
	if o.endpoint == "" {
		if _, _, err := a.home(o.env); err != nil {
			return err
		}
		if name, err = a.ensureModel(ctx, name, args[0]); err != nil {
			return err
		}
		o.addr = "127.0.0.1:0"
		var ep *endpoint
		if ep, err = a.startEndpoint(ctx, o.serveOptions); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ep.close(ctx)) }()
		o.endpoint, own = ep.url, ep.witness
	}
	c := &chat{app: a, endpoint: o.endpoint, own: own, model: name, maxTokens: o.maxTokens}
	if len(args) == 2 {
		return c.once(ctx, args[1])
	}
	return c.loop(ctx)
}

// ensureModel pulls a model, by the user's word for it, that the store does not
// have under its name, and returns what the endpoint calls it.
func (a *app) ensureModel(ctx context.Context, name, word string) (string, error) {
	store, err := a.store()
	if err != nil {
		return "", err
	}
	m, err := store.Find(name)
	if errors.Is(err, bundle.ErrNotFound) {
		a.Note("%s is not in the store: pulling it", word)
		if m, err = a.pull(ctx, word, nil); err != nil {
			err = suggestHere(store, word, err)
		}
	}
	return modelName(m), err
}
