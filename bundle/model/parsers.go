// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import "strings"

// MaxTemplate is the cap on a chat template, in bytes.
const MaxTemplate = 1 << 20

// toolMarks tell by what a chat template writes which parser reads the calls
// that come back: all marks must be there, the first row that fits wins. The
// names are vLLM's; of two that read one markup (qwen3_coder, qwen3_xml) the
// first is taken. Rows of one family stand with the narrower one first; the
// mark of hermes is part of many others and stands last.
var toolMarks = []struct {
	parser string
	marks  []string
}{
	{"openai", []string{"<|channel|>", "<|message|>"}},
	{"mistral", []string{"[TOOL_CALLS]"}},
	{"kimi_k2", []string{"<|tool_calls_section_begin|>"}},
	{"minimax_m2", []string{"<minimax:tool_call>"}},
	{"seed_oss", []string{"<seed:tool_call>"}},
	{"deepseek_v32", []string{"<｜DSML｜"}},
	{"deepseek_v3", []string{"<｜tool▁calls▁begin｜>", "```json"}},
	{"deepseek_v31", []string{"<｜tool▁calls▁begin｜>"}},
	{"glm47", []string{"<tool_call>{function-name}<arg_key>"}},
	{"glm45", []string{"<arg_key>", "<arg_value>"}},
	{"gemma4", []string{"<|tool_call>", "<tool_call|>"}},
	{"functiongemma", []string{"<start_function_call>"}},
	{"lfm2", []string{"<|tool_list_start|>"}},
	{"longcat", []string{"<longcat_tool_call>"}},
	{"granite", []string{"<|start_of_role|>", "<|tool_call|>"}},
	{"phi4_mini_json", []string{"<|tool|>", "<|/tool|>"}},
	{"internlm", []string{"<|action_start|>", "<|plugin|>"}},
	{"olmo3", []string{"<function_calls>", "<functions>"}},
	{"llama3_json", []string{"<|start_header_id|>", "<|python_tag|>"}},
	{"llama3_json", []string{"<|start_header_id|>", `"parameters": dictionary`}},
	{"llama4_json", []string{"<|header_start|>", `"parameters": dictionary`}},
	{"llama4_pythonic", []string{"<|header_start|>", "[func_name1("}},
	{"jamba", []string{"<|bom|>", "<tool_calls>"}},
	{"qwen3_coder", []string{"<tool_call>", "<function=", "<parameter="}},
	{"hunyuan_a13b", []string{"<tool_calls>", "<tool_call>"}},
	{"hermes", []string{"<tool_call>"}},
}

// reasoningOf are the families whose reasoning has a parser of its own, by the
// tool parser; the mark must be there too.
var reasoningOf = map[string]struct{ parser, mark string }{
	"openai":       {"openai_gptoss", "analysis"},
	"mistral":      {"mistral", "[THINK]"},
	"kimi_k2":      {"kimi_k2", "<think>"},
	"minimax_m2":   {"minimax_m2", "<think>"},
	"seed_oss":     {"seed_oss", "<seed:think>"},
	"deepseek_v31": {"deepseek_v3", "<think>"},
	"deepseek_v32": {"deepseek_v3", "<think>"},
	"glm45":        {"glm45", "<think>"},
	"glm47":        {"glm45", "<think>"},
	"gemma4":       {"gemma4", "<|channel>"},
	"olmo3":        {"olmo3", "<think>"},
	"granite":      {"granite", "Here is my thought process"},
	"hunyuan_a13b": {"hunyuan_a13b", "<think>"},
}

// parsers guesses from the marks of a chat template what reads tool calls and
// reasoning in the answers. "" = nothing that is known.
func parsers(template string) (tool, reasoning string) {
	for _, row := range toolMarks {
		if containsAll(template, row.marks) {
			tool = row.parser
			break
		}
	}
	if own, ok := reasoningOf[tool]; ok {
		if strings.Contains(template, own.mark) {
			return tool, own.parser
		}
		return tool, ""
	}
	// Many templates strip <think> from what was said before. A model reasons
	// if its template opens, or lets the caller close, a thought of the answer
	// that is to come.
	_, prompt, ok := cutLast(template, "add_generation_prompt")
	if !ok || !strings.Contains(prompt, "<think>") {
		return tool, ""
	}
	if strings.Contains(template, "enable_thinking") {
		return tool, "qwen3"
	}
	return tool, "deepseek_r1"
}

func containsAll(s string, marks []string) bool {
	for _, mark := range marks {
		if !strings.Contains(s, mark) {
			return false
		}
	}
	return true
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
