// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import "testing"

// The templates are the marks of the real ones in their order, no more.
func TestParsers(t *testing.T) {
	t.Parallel()
	const generate = `{% if add_generation_prompt %}`
	tests := []struct{ name, template, tool, reasoning string }{
		{"none", "", "", ""},
		{"ChatML without tools", `<|im_start|>{{ m.role }}` + generate + `<|im_start|>assistant`, "", ""},
		{"Qwen2.5", `<tools></tools>\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>` + generate, "hermes", ""},
		{"Qwen3", `<tool_call>{"name"}</tool_call>{% set reasoning = content.split('</think>') %}<think>` + generate + `{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>`, "hermes", "qwen3"},
		{"Qwen3 Instruct 2507", `<tool_call>{"name"}</tool_call>{{ content.split('</think>')[-1] }}<think>` + generate + `<|im_start|>assistant`, "hermes", ""},
		{"Qwen3-Coder", `<tool_call>\n<function=example>\n<parameter=a>\nv\n</parameter>\n</function>\n</tool_call>` + generate, "qwen3_coder", ""},
		{"Qwen3.5", `<tool_call>\n<function=f>\n<parameter=a>` + generate + `{% if enable_thinking %}<think>`, "qwen3_coder", "qwen3"},
		{"QwQ", `<tool_call>` + generate + `<|im_start|>assistant\n<think>\n`, "hermes", "deepseek_r1"},
		{"Llama 3.1", `<|start_header_id|>{{ "<|python_tag|>" }}` + generate, "llama3_json", ""},
		{"Llama 3.2", `<|start_header_id|>{"name": function name, "parameters": dictionary of argument name and its value}` + generate, "llama3_json", ""},
		{"Llama 3, no tools", `<|start_header_id|>` + generate, "", ""},
		{"Mistral", `[AVAILABLE_TOOLS][TOOL_CALLS]`, "mistral", ""},
		{"Magistral", `[TOOL_CALLS][THINK]`, "mistral", "mistral"},
		{"GLM-4.5", `<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>\n<arg_value>v</arg_value>` + generate + `<think></think>`, "glm45", "glm45"},
		{"GLM-4.7", `<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>v</arg_value>` + generate + `<think>`, "glm47", "glm45"},
		{"Kimi K2", `<|tool_calls_section_begin|><|tool_call_begin|>`, "kimi_k2", ""},
		{"Kimi K2 Thinking", `<think><|tool_calls_section_begin|>`, "kimi_k2", "kimi_k2"},
		{"Gemma 4", `<|tool_call>call:f{}<tool_call|><|channel>thought`, "gemma4", "gemma4"},
		{"Gemma 3", `<start_of_turn>` + generate, "", ""},
		{"MiniMax-M2", `<minimax:tool_call><invoke name="f"></minimax:tool_call><think>`, "minimax_m2", "minimax_m2"},
		{"gpt-oss", `<|start|>assistant<|channel|>analysis<|message|>`, "openai", "openai_gptoss"},
		{"DeepSeek-R1", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json" + generate + `<｜Assistant｜><think>\n`, "deepseek_v3", "deepseek_r1"},
		{"DeepSeek-V3.1", `<｜tool▁calls▁begin｜><｜tool▁sep｜>` + generate + `<｜Assistant｜><think>`, "deepseek_v31", "deepseek_v3"},
		{"Seed-OSS", `<seed:tool_call><function=f><parameter=a></seed:tool_call><seed:think>`, "seed_oss", "seed_oss"},
		{"LFM2", `<|tool_list_start|>[{{ tool }}]<|tool_list_end|>`, "lfm2", ""},
		{"Granite 3.1", `<|start_of_role|><|tool_call|>`, "granite", ""},
		{"Granite 3.2", `<|start_of_role|><|tool_call|>{% if thinking %}Write the thoughts after 'Here is my thought process:'` + generate, "granite", "granite"},
		{"Granite 4", `<|start_of_role|><tool_call>\n{"name": <function-name>}</tool_call>` + generate, "hermes", ""},
		{"Llama 4", `<|header_start|>{"name": function name, "parameters": dictionary of argument name and its value}` + generate, "llama4_json", ""},
		{"Llama 4, pythonic", `<|header_start|>[func_name1(params_name1=params_value1), func_name2(params)]` + generate, "llama4_pythonic", ""},
		{"Jamba", `<|bom|><|system|><tool_calls>[{"name"}]</tool_calls>`, "jamba", ""},
		{"SmolLM3", `<tool_call>{"name"}</tool_call><think>` + generate + `{% if enable_thinking %}{% else %}<think>\n\n</think>`, "hermes", "qwen3"},
		{"Qwen3 Thinking 2507", `<tool_call>{"name"}</tool_call>{{ content.split('</think>')[-1] }}` + generate + `<|im_start|>assistant\n<think>\n`, "hermes", "deepseek_r1"},
		{"DeepSeek-V3", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json" + generate + `<｜Assistant｜>`, "deepseek_v3", ""},
		{"Command-R, templates by name, joined", `<|START_OF_TURN_TOKEN|>` + generate + `<|CHATBOT_TOKEN|>{# tool_use #}Action:` + generate, "", ""},
		{"Phi-4-mini", `{{ '<|tool|>' + m.tools + '<|/tool|>' }}` + generate, "phi4_mini_json", ""},
	}
	for _, tt := range tests {
		if tool, reasoning := parsers(tt.template); tool != tt.tool || reasoning != tt.reasoning {
			t.Errorf("%s: got %q, %q, want %q, %q", tt.name, tool, reasoning, tt.tool, tt.reasoning)
		}
	}
}
