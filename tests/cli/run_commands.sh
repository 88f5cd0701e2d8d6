#!/bin/sh
# run_commands.sh FMPIPE PLUGIN_FOLDER: exit codes, streams and the JSON form of every command, on a pipeline of probe stages.
set -u
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
cat >pipeline.yaml <<'END'
fmpipe: 1
name: probe
seed: 7
vars: {n: {type: int, default: 250}}
stages:
  - {id: make, use: probe.source, with: {n: "${n}"}}
  - {id: keep, use: probe.map}
  - {id: refuse, use: probe.refuse, on_bad: skip}
END
failed=0

# expect NAME CODE PATTERN COMMAND...: exit code, and a line of stdout or stderr that matches.
expect() {
    name=$1 want=$2 pattern=$3
    shift 3
    "$@" >out 2>err </dev/null
    code=$?
    if [ "$code" -ne "$want" ]; then
        echo "$name: expected exit code $want, found $code"
        cat out err
        failed=1
    elif ! cat out err | grep -q -e "$pattern"; then
        echo "$name: expected a line with '$pattern', found:"
        cat out err
        failed=1
    fi
}

# expect_none NAME FILE PATTERN: no line of out or err that matches.
expect_none() {
    if grep -q -e "$3" "$2"; then
        echo "$1: expected no '$3' in $2, found:"
        cat "$2"
        failed=1
    fi
}

expect version_is_printed 0 '^fmpipe [0-9]' "$fmpipe" version
expect version_as_option 0 '^fmpipe [0-9]' "$fmpipe" --version
expect help_lists_commands 0 '^  validate ' "$fmpipe" --help
expect help_of_a_command 0 '^usage: fmpipe run' "$fmpipe" help run
expect help_lists_stages 0 'probe.refuse' "$fmpipe" help stages
expect help_of_a_stage_shows_ranges 0 'rank: int, 1 … 1024 columns (default 32)' "$fmpipe" help probe.map
expect no_command_is_a_usage_error 2 '^usage:' "$fmpipe"
expect unknown_command_gets_the_nearest 2 "did you mean 'validate'" "$fmpipe" valdiate
expect unknown_option_gets_the_nearest 2 "did you mean '--json'" "$fmpipe" run --jsn
expect option_without_value 2 '--store needs a value' "$fmpipe" run --store
expect bad_number 2 "expected a number from 0 to 1024, found 'x'" "$fmpipe" run --threads x
expect too_many_operands 2 'as well' "$fmpipe" validate a b
expect no_such_file 3 'there is no such file' "$fmpipe" validate nowhere.yaml

expect validate_counts_stages 0 '^pipeline.yaml: ok, 3 stages$' "$fmpipe" validate
expect validate_takes_a_folder 0 'ok, 3 stages$' "$fmpipe" validate .
expect validate_as_json 0 '"event":"validate.end","ok":true' "$fmpipe" validate --json
expect problems_as_json 3 '"event":"diagnostic","severity":"error"' "$fmpipe" validate --json --set n=0
expect plan_says_why 0 'will run: it has not run before' "$fmpipe" plan
expect run_shows_each_stage 0 'refuse .*25 rejected' "$fmpipe" run
cat >table <<'END'
 lines
                 share kept           loss
 kind      n    base → adapter   base → adapter
 tenth    25   0.0 %   100.0 %    3.9     12.31
 other   225                 –   3.70      0.33
 ± 4.1
END
sed -n '/^ lines$/,/± 4.1$/p' out >found
if ! diff -u table found; then
    echo "a_table_has_its_sides_below_the_columns_name: it is printed otherwise"
    failed=1
fi
expect_end() {
    if ! grep -q -e "$2" out; then
        echo "$1: expected a line with '$2', found:"
        cat out
        failed=1
    fi
}
expect_end a_run_ends_with_what_to_do_next 's, peak .* Run it again: everything is cached. .*fmpipe plugin new my_transform$'
first=$(basename "$(readlink runs/latest)")
expect second_run_is_one_line 0 "^probe · 3 stages cached · .* s · same digests as run $first" "$fmpipe" run
expect plan_of_a_known_pipeline 0 '= make … refuse .*cached' "$fmpipe" plan
expect force_runs_again 0 'keep .*forced' "$fmpipe" run --force keep
expect set_changes_the_plan 0 'option rank changed (32 → 8)' "$fmpipe" plan --set keep.rank=8
expect plan_estimates_by_the_last_run 0 '^   estimate .* s, peak .* by what the stages took last time$' \
    "$fmpipe" plan --set keep.rank=8
expect plan_without_a_last_run_says_so 0 '^   estimate —: nothing of this has run before$' "$fmpipe" plan --store empty
expect explain_shows_both_values 0 'options.rank  *32  *8' "$fmpipe" explain keep --set keep.rank=8
expect explain_unknown_stage 2 "did you mean 'keep'" "$fmpipe" explain kep
expect run_ends_with_the_promised_line 0 \
    '^{"v":1,"event":"run.end","ok":true,"run_dir":"runs/[^"]*","stages":\[{"id":"make","action":"cached","reason":"","in":' \
    "$fmpipe" run --json
expect_none json_run_prints_nothing_else err .
if [ "$(tail -n 1 out | cut -c1-28)" != '{"v":1,"event":"run.end","ok' ]; then
    echo "run.end is not the last line"
    failed=1
fi
expect_none json_lines_only out '^[^{]'
sed 's/on_bad: skip/on_bad: {limit: 3}/' pipeline.yaml >strict.yaml
expect refused_data_is_exit_3 3 'expected another line, found a tenth one' "$fmpipe" run strict.yaml
expect quiet_run_shows_results_only 0 'stages cached' "$fmpipe" run -q
expect_none quiet err .

expect runs_are_listed 0 ' probe ' "$fmpipe" runs
expect a_run_can_be_looked_at 0 'refuse .*probe.refuse' "$fmpipe" inspect run
expect cache_is_listed 0 'results, ' "$fmpipe" cache list
expect cache_gc_can_be_tried 0 'would remove' "$fmpipe" cache gc --dry-run
expect schema_is_json_schema 0 'draft-07' "$fmpipe" schema
expect schema_knows_the_stages 0 '"const": "probe.map"' "$fmpipe" schema
expect docs_have_tables 0 '^| `learning_rate` | float, 0 … 1 | 0.001 |' "$fmpipe" schema --markdown
expect completion_is_bash 0 'complete .*-F _fmpipe fmpipe' "$fmpipe" completion bash
expect doctor_finds_plugins 0 'plugins' "$fmpipe" doctor

mkdir refused
printf 'no ELF file' >refused/one.so
printf 'nor this' >refused/two.so
expect doctor_shows_each_refused_plugin 1 'refused .*refused/one.so: ' env FMPIPE_PLUGIN_PATH=refused "$fmpipe" doctor
expect_end doctor_shows_each_refused_plugin 'refused .*refused/two.so: '
expect plugin_list_shows_refused_plugins_too 0 'refused/two.so: ' env FMPIPE_PLUGIN_PATH=refused "$fmpipe" plugin list

# A reader that goes away is no error.
"$fmpipe" schema 2>err | head -n 1 >/dev/null
expect_none closed_pipe err .

exit $failed
