/*
 * template_builtin.c: the templates that ship with fmpipe, as text in the program.
 *
 * The same texts lie in templates/NAME.jinja, where they are edited and from where base models take their
 * copy; a unit test compares the two byte for byte.
 */
#include "template_impl.h"

static const char fm_chat[] =
    "{#- Turns of the fm-tiny base model. One special token opens a turn, <|end|> closes it; a tool "
    "is declared the way\n"
    "    it is called, after <|call|>; JSON is json.dumps text. -#}\n"
    "{%- macro text_of(content) -%}\n"
    "    {%- if content is string -%}\n"
    "        {{- content -}}\n"
    "    {%- elif content is sequence and content is not mapping -%}\n"
    "        {%- for part in content -%}\n"
    "            {%- if part is string -%}{{- part -}}{%- elif part.text is defined -%}{{- part.text "
    "-}}{%- endif -%}\n"
    "        {%- endfor -%}\n"
    "    {%- elif content is defined and content is not none -%}\n"
    "        {{- content | tojson -}}\n"
    "    {%- endif -%}\n"
    "{%- endmacro -%}\n"
    "{%- macro tool_lines(tools) -%}\n"
    "    {{- \"<|tools|>\" -}}\n"
    "    {%- for tool in tools -%}\n"
    "        {%- set f = tool.function if tool.function is defined else tool -%}\n"
    "        {{- '<|call|>{\"name\": ' -}}{{- f.name | tojson -}}{{- ', \"parameters\": ' -}}\n"
    "        {{- (f.parameters if f.parameters is defined else f.arguments | default({})) | tojson "
    "-}}{{- \"}\" -}}\n"
    "    {%- endfor -%}\n"
    "{%- endmacro -%}\n"
    "{%- macro schema_of(format) -%}\n"
    "    {%- if format is mapping and format.json_schema is defined -%}\n"
    "        {{- \"<|schema|>\" -}}{{- (format.json_schema.schema | default(format.json_schema)) | "
    "tojson -}}\n"
    "    {%- endif -%}\n"
    "{%- endmacro -%}\n"
    "{{- \"<|bos|>\" -}}\n"
    "{%- set all_tools = tools if tools is defined and tools else messages[0].tools if messages and "
    "messages[0].tools is defined else [] -%}\n"
    "{%- if all_tools and (not messages or messages[0].role != \"system\") -%}\n"
    "    {{- \"<|system|>\" -}}{{- tool_lines(all_tools) -}}{{- \"<|end|>\" -}}\n"
    "{%- endif -%}\n"
    "{%- for message in messages -%}\n"
    "    {%- if message.role == \"system\" -%}\n"
    "        {{- \"<|system|>\" -}}{{- text_of(message.content) -}}\n"
    "        {%- if loop.first and all_tools -%}{{- tool_lines(all_tools) -}}{%- endif -%}\n"
    "    {%- elif message.role == \"user\" -%}\n"
    "        {{- \"<|user|>\" -}}{{- text_of(message.content) -}}\n"
    "        {{- schema_of(message.response_format | default(response_format)) -}}\n"
    "    {%- elif message.role == \"assistant\" -%}\n"
    "        {{- \"<|assistant|>\" -}}{{- text_of(message.content) -}}\n"
    "        {%- for call in message.tool_calls or [] -%}\n"
    "            {%- set f = call.function if call.function is defined else call -%}\n"
    "            {{- '<|call|>{\"name\": ' -}}{{- f.name | tojson -}}{{- ', \"arguments\": ' -}}\n"
    "            {%- if f.arguments is string -%}{{- f.arguments -}}{%- else -%}{{- f.arguments | "
    "default({}) | tojson -}}{%- endif -%}\n"
    "            {{- \"}\" -}}\n"
    "        {%- endfor -%}\n"
    "    {%- elif message.role == \"tool\" or message.role == \"function\" -%}\n"
    "        {{- \"<|tool|>\" -}}{{- text_of(message.content) -}}\n"
    "    {%- else -%}\n"
    "        {{- raise_exception(\"unknown role '\" ~ message.role ~ \"': expected system, user, "
    "assistant or tool\") -}}\n"
    "    {%- endif -%}\n"
    "    {{- \"<|end|>\" -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- \"<|assistant|>\" -}}{%- endif -%}\n";

static const char adapter_toolkit[] =
    "{#- The adapter training toolkit's turn form: <turn_start> ROLE<n>CONTENT<turn_end>, begun by the EOS "
    "token. -#}\n"
    "{%- macro text_of(content) -%}\n"
    "    {%- if content is string -%}\n"
    "        {{- content -}}\n"
    "    {%- elif content is defined and content is not none -%}\n"
    "        {{- content | tojson -}}\n"
    "    {%- endif -%}\n"
    "{%- endmacro -%}\n"
    "{{- eos_token | default(\"<eos>\") -}}\n"
    "{%- set all_tools = tools if tools is defined and tools else messages[0].tools if messages and "
    "messages[0].tools is defined else [] -%}\n"
    "{%- set has_system = messages and messages[0].role == \"system\" -%}\n"
    "{%- if all_tools and not has_system -%}\n"
    "    {{- \"<turn_start> system<n>system tools: \" -}}\n"
    "    {%- for tool in all_tools -%}{{- tool | tojson -}}{%- if not loop.last -%}{{- \"<n>\" -}}{%- endif "
    "-%}{%- endfor -%}\n"
    "    {{- \"<turn_end>\" -}}\n"
    "{%- endif -%}\n"
    "{%- for message in messages -%}\n"
    "    {{- \"<turn_start> \" -}}{{- message.role -}}{{- \"<n>\" -}}{{- text_of(message.content) -}}\n"
    "    {%- if loop.first and has_system and all_tools -%}\n"
    "        {{- \"<n>system tools: \" -}}\n"
    "        {%- for tool in all_tools -%}{{- tool | tojson -}}{%- if not loop.last -%}{{- \"<n>\" -}}{%- "
    "endif -%}{%- endfor -%}\n"
    "    {%- endif -%}\n"
    "    {%- if message.role == \"user\" and message.response_format is defined -%}\n"
    "        {%- set schema = message.response_format.json_schema -%}\n"
    "        {{- \"<n>Respond with JSON of this schema:<n>\" -}}\n"
    "        {%- if schema.name is defined -%}{{- \"name: \" -}}{{- schema.name -}}{{- \"<n>\" -}}{%- endif "
    "-%}\n"
    "        {%- if schema.description is defined -%}{{- \"description: \" -}}{{- schema.description -}}{{- "
    "\"<n>\" -}}{%- endif -%}\n"
    "        {{- \"schema: \" -}}{{- schema.schema | tojson -}}\n"
    "    {%- endif -%}\n"
    "    {%- if message.tool_calls is defined and message.tool_calls -%}\n"
    "        {{- \"<executable_start>```json<n>[\" -}}\n"
    "        {%- for call in message.tool_calls -%}\n"
    "            {%- set f = call.function if call.function is defined else call -%}\n"
    "            {{- '{\"name\": ' -}}{{- f.name | tojson -}}{{- ', \"arguments\": ' -}}\n"
    "            {%- if f.arguments is string -%}{{- f.arguments -}}{%- else -%}{{- f.arguments | "
    "default({}) | tojson -}}{%- endif -%}\n"
    "            {{- \"}\" -}}{%- if not loop.last -%}{{- \", \" -}}{%- endif -%}\n"
    "        {%- endfor -%}\n"
    "        {{- \"]<n>```<executable_end>\" -}}\n"
    "    {%- endif -%}\n"
    "    {{- \"<turn_end>\" -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- \"<turn_start> assistant<n>\" -}}{%- endif -%}\n";

static const struct {
    const char *name;
    const char *text;
} builtins[] = {
    {"fm-chat", fm_chat},
    {"adapter-toolkit", adapter_toolkit},
};

const char *fmp_template_builtin(const char *name)
{
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++) {
        if (strcmp(builtins[i].name, name) == 0) { return builtins[i].text; }
    }
    return NULL;
}

const char *fmp_template_builtin_name(size_t i)
{
    return i < sizeof builtins / sizeof *builtins ? builtins[i].name : NULL;
}
