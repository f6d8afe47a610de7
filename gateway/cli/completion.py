"""`completion`: a script for bash, zsh or fish, made from the parser, so that it is never behind it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from gateway.cli.terminal.printing import say
from gateway.cli.verb import OK, Verbs, add


def add_verbs(verbs: Verbs) -> None:
    """Declare `completion`."""
    parser = add(
        verbs,
        "completion",
        "print a shell's completion script",
        completion,
        examples=[
            "edge-gateway completion bash > /etc/bash_completion.d/edge-gateway",
            "edge-gateway completion zsh > /usr/share/zsh/vendor-completions/_edge-gateway",
            "edge-gateway completion fish > ~/.config/fish/completions/edge-gateway.fish",
        ],
        config=False,
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def completion(words: argparse.Namespace) -> int:
    """Print the script."""
    say({"bash": bash, "zsh": zsh, "fish": fish}[words.shell](words.program))
    return OK


def commands(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, list[str], str]]:
    """Yield (verbs so far, words that may follow, description) for the program and each of its verbs."""
    following: list[str] = []
    for action in parser._actions:  # argparse has no public way to walk a parser
        if isinstance(action, argparse._SubParsersAction):
            following += action.choices
            for name, inner in action.choices.items():
                yield from commands(inner, f"{path} {name}".strip())
        else:
            following += action.option_strings
            following += [str(choice) for choice in action.choices or ()]
            if by := getattr(action, "completed_by", None):
                following.append(f"$({parser.prog.partition(' ')[0]} {by} 2>/dev/null)")
    yield path, sorted(following), parser.description or ""


def bash(parser: argparse.ArgumentParser) -> str:
    """Write the script for bash."""
    cases = "\n".join(f'    "{path}") words="{" ".join(words)}" ;;' for path, words, _ in commands(parser))
    return f"""# bash completion for {parser.prog}
_edge_gateway() {{
  local path="" word words=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$word" in -*) ;; *) path="${{path:+$path }}$word" ;; esac
  done
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  if [ "$previous" = "--config" ]; then COMPREPLY=($(compgen -f -- "$current")); return; fi
  case "$path" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ ${{#COMPREPLY[@]}} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$current")); fi
}}
complete -o filenames -F _edge_gateway {parser.prog}"""


def zsh(parser: argparse.ArgumentParser) -> str:
    """Write the script for zsh."""
    cases = "\n".join(f'    "{path}") choices=({" ".join(words)}) ;;' for path, words, _ in commands(parser))
    return f"""#compdef {parser.prog}
_edge_gateway() {{
  local word verbs="" choices=()
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case "$word" in -*) ;; *) verbs="${{verbs:+$verbs }}$word" ;; esac
  done
  if [[ "$words[CURRENT-1]" == "--config" ]]; then _files; return; fi
  case "$verbs" in
{cases}
  esac
  compadd -- $choices || _files
}}
_edge_gateway "$@\""""


def fish(parser: argparse.ArgumentParser) -> str:
    """Write the script for fish; it asks for the verbs before the cursor as the other two do."""
    cases = "\n".join(
        f"    case '{path}'\n      printf '%s\\n' {_fish_words(words)}" for path, words, _ in commands(parser) if words
    )
    return f"""# fish completion for {parser.prog}
function __edge_gateway_words
  set -l verbs
  for word in (commandline -opc)[2..]
    string match -q -- '-*' $word; or set -a verbs $word
  end
  switch "$verbs"
{cases}
  end
end
complete -c {parser.prog} -a '(__edge_gateway_words)'"""


def _fish_words(words: list[str]) -> str:
    """Write words for fish, which has no $ before a command in brackets."""
    return " ".join(word.removeprefix("$") if word.startswith("$(") else f"'{word}'" for word in words)
