// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// chatGo talks through OpenAI's Go client.
func chatGo(t *testing.T, base, model string) chatResult {
	t.Helper()
	client := openai.NewClient(option.WithBaseURL(base), option.WithAPIKey("any"), option.WithMaxRetries(0))
	params := openai.ChatCompletionNewParams{
		Model:       model,
		Messages:    []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
		MaxTokens:   openai.Int(maxTokens),
		Temperature: openai.Float(0),
	}
	var r chatResult
	page, err := client.Models.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range page.Data {
		r.Models = append(r.Models, m.ID)
	}

	whole, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	choice := whole.Choices[0]
	r.Text, r.Finish, r.Model, r.Tokens = choice.Message.Content, choice.FinishReason, whole.Model, whole.Usage.CompletionTokens

	params.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	acc := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		r.Chunks++
		if !acc.AddChunk(stream.Current()) {
			t.Errorf("the client cannot add chunk %d: %s", r.Chunks, stream.Current().RawJSON())
		}
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil {
		t.Fatal(err)
	}
	r.Streamed, r.StreamTokens = acc.Choices[0].Message.Content, acc.Usage.CompletionTokens

	params = openai.ChatCompletionNewParams{Model: "ai/absent", Messages: params.Messages}
	_, err = client.Chat.Completions.New(t.Context(), params)
	if failed, ok := errors.AsType[*openai.Error](err); ok {
		r.WrongStatus = failed.StatusCode
	}
	return r
}
