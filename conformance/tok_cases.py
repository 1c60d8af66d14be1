"""Byte-level BPE tokenizers in the ways of published models, with ids made by Hugging Face's tokenizers library.

    python conformance/tok_cases.py OUT SHARED
"""
import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from common import Cases

GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
QWEN = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
LLAMA3 = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
GPT4 = r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"""
GPT4O = r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
TEKKEN = r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
DEEPSEEK3 = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
]
DEEPSEEK_CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"]
QWEN35 = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
KIMI = r"""[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


def split(expr, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(expr), behavior, invert)


def level(prefix=False, regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def seq(*p):
    return pre_tokenizers.Sequence(list(p))


def template(tok, begin, end=()):
    ids = {s: tok.token_to_id(s) for s in (*begin, *end)}
    return processors.TemplateProcessing(
        single=" ".join([*(b + ":0" for b in begin), "$A:0", *(e + ":0" for e in end)]),
        pair=" ".join([*(b + ":0" for b in begin), "$A:0", "$B:1"]),
        special_tokens=list(ids.items()),
    )


# Expressions on which the engines differ. Which parts match shows with behaviour removed, where they are cut with a vocabulary that knows
# nothing but <unk>, fused within a piece.
DIALECT = [
    GPT2, QWEN, LLAMA3, GPT4, GPT4O, TEKKEN, QWEN35, KIMI, *DEEPSEEK3, *DEEPSEEK_CODER,
    r"\w+", r"\W+", r"\b", r"\B", r"\bword\b|\d+", r"[\w'-]+|[^\w\s]", r"[^\w]", r"\h+", r"\H", r"[\h]+", r"\R", r"\X", r"[[:alpha:]]+", r"[[:alpha:][:digit:]_]+", r"[^[:space:]]+", r"[[:punct:]]", r"[[:upper:]][[:lower:]]*", r"[[:^alpha:]]+", r"[[:blank:]]+", r"[[:xdigit:]]{2}", r"[[:word:]]+", r"[[:alnum:]]+",
    r"^\s+", r"\s+$", r"^", r"$", r"\A\w|\w\z", r"\w\Z", r"(?m).+", r".+", r"(?i)[a-c]+", r"(?i:k|s)+", r"(?i)\p{Lu}", r"(?i)\p{L}+", r"a{,3}", r"a{2}?", r"a{1,2}+", r"a{2,}?b", r"x{", r"a{x}", r"\p{^L}+", r"\P{L}+", r"\p{^Lu}", r"\pL", r"[\p{L}&&[^a-z]]+", r"[\p{L}\p{N}&&[^\p{Lu}x]]+", r"[a-z&&[aeiou]]+", r"[^a-z&&[^aeiou]]+",
    r"[a[bc]d]+", r"[^a[bc]]+", r"[a[^b]]", r" ?[^(\s|[.,!?…。，、।۔،])]+", r"[a-[b]]", r"[-a]+|[a-]+", r"[]a]+", r"[\]\[]", r"[\-\^]", r"[+-/]", r"[&a]+", r"[a&b]", r"[#\s]+", r"(?<=[a-z])(?=[A-Z])", r"(?<!\s)\s", r"(?>a+)b", r"(\w)\1", r"(?<n>.)\k<n>", r"(?:'|\u2019)s?", r"\u00e9|\x{65e5}|\x41|\101", r"[\x{4e00}-\x{9fff}]+", r"[\u3040-\u30ff]+",
    r"\/|\'|\"|\_|\ |\-|\<|\>|\!|\,|\;|\:|\@|\%|\&|\=|\~|\`", r"[\/\'\"\_\ \<\>\!]+", r"\p{Han}+", r"\p{Hiragana}+|\p{Katakana}+", r"\p{Sc}|\p{Sm}", r"\p{Zs}+", r"\p{Cc}|\p{Cf}", r"\p{Emoji}", r"\p{Alpha}+", r"\p{Alphabetic}+", r"\p{Uppercase}+", r"\p{Script=Han}", r"(?x) a b # c", r"(?i-i:a)B", r"(?i)a(?-i)b", r"\K", r"\G.", r"(?~ab)", r"(?#note)a", r"\d{1,3}(?=(?:\d{3})*\b)", r"\s+(?!\S)", r"[^\S\n]+", r"[\s\S]", r"[\d\D]", r"\t|\n|\r|\f|\v|\e|\a", r"[\t\n\r]+", r"\cA|\cJ", r"[\b]", r"(?:)", r"|a", r"a||b", r"a*", r"a*?", r"(a|b)*c?",
]

PLAIN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"]

VARIANTS = {
    # name: (normalizer, pre-tokenizer, added tokens, template, model options)
    "gpt2": (None, level(False, True), PLAIN, None, {}),
    "gpt2-prefix": (None, level(True, True), PLAIN, None, {}),
    "roberta-like": (None, level(True, True), PLAIN, (["<s>"], ["</s>"]), {}),
    "qwen": (normalizers.NFC(), seq(split(QWEN), level()), PLAIN, None, {}),
    "qwen35": (normalizers.NFC(), seq(split(QWEN35), level()), PLAIN, None, {}),
    "llama3": (None, seq(split(LLAMA3), level()), PLAIN, (["<s>"], []), {"ignore_merges": True}),
    "smollm2": (None, seq(pre_tokenizers.Digits(individual_digits=True), level(False, True)), PLAIN, None, {}),
    "digits-runs": (None, seq(pre_tokenizers.Digits(individual_digits=False), level(False, True)), PLAIN, None, {}),
    "gpt4": (None, seq(split(GPT4), level()), PLAIN, None, {}),
    "gpt4-removed": (None, seq(split(GPT4, "removed", True), level()), PLAIN, None, {}),
    "gpt4o": (None, seq(split(GPT4O), level()), PLAIN, None, {"ignore_merges": True}),
    "tekken": (None, seq(split(TEKKEN), level()), PLAIN, (["<s>"], []), {"ignore_merges": True}),
    "deepseek3": (None, seq(*map(split, DEEPSEEK3), level()), PLAIN, (["<s>"], []), {}),
    "deepseek-coder": (None, seq(*map(split, DEEPSEEK_CODER), level()), PLAIN, None, {}),
    "kimi": (None, seq(split(KIMI), level()), PLAIN, None, {}),
    "word-class": (None, seq(split(r"\w+|\d|[^\w\s]+|\s+"), level()), PLAIN, None, {}),
    "posix": (None, seq(split(r"[[:alpha:]]+|[[:digit:]]|[[:space:]]+|[^[:alnum:]\s]+"), level()), PLAIN, None, {}),
    "lookbehind": (None, seq(split(r"(?<=\p{N})(?=(\p{N}{3})+\b)|\s+"), level()), PLAIN, None, {}),
    "horizontal": (None, seq(split(r"\h+|\R|\X"), level()), PLAIN, None, {}),
    "space-string": (None, seq(pre_tokenizers.Split(" ", "merged_with_previous"), level()), PLAIN, None, {}),
    "space-next": (None, seq(pre_tokenizers.Split(" ", "merged_with_next"), level()), PLAIN, None, {}),
    "space-contiguous": (None, seq(pre_tokenizers.Split(" ", "contiguous"), level()), PLAIN, None, {}),
    "space-removed": (None, seq(pre_tokenizers.Split(" ", "removed"), level()), PLAIN, None, {}),
    "split-invert": (None, seq(split(r"\p{L}+", "isolated", True), level()), PLAIN, None, {}),
    "two-splits-prefix": (None, seq(split(r"\p{N}"), level(True, True)), PLAIN, None, {}),
    "whitespace-split": (None, seq(pre_tokenizers.WhitespaceSplit(), level()), PLAIN, None, {}),
    "punctuation": (None, seq(pre_tokenizers.Punctuation(), level()), PLAIN, None, {}),
    "nfkc": (normalizers.NFKC(), level(False, True), PLAIN, None, {}),
    "nfd": (normalizers.NFD(), level(False, True), PLAIN, None, {}),
    "lowercase": (normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]), level(False, True), PLAIN, None, {}),
    "replace": (normalizers.Replace(" ", "_"), level(False, True), PLAIN, None, {}),
    "strip": (normalizers.Strip(), level(False, True), PLAIN, None, {}),
    "prepend": (normalizers.Prepend("_"), level(False, True), PLAIN, None, {}),
    "template-both": (None, level(False, True), PLAIN, (["<s>", "<|im_start|>"], ["</s>"]), {}),
    "added": (
        normalizers.NFC(), seq(split(QWEN), level()),
        [AddedToken("<mask>", lstrip=True, special=True), AddedToken("<r>", rstrip=True, special=True), AddedToken("<lr>", lstrip=True, rstrip=True, special=False),
         AddedToken("word", single_word=True, special=False), AddedToken("Élan", normalized=True, special=False), AddedToken("E\u0301té", normalized=True, special=False),
         AddedToken("raw\u0301", normalized=False, special=False), AddedToken("<|im_start|>", special=True), AddedToken("<|im", special=False), AddedToken("    ", special=False),
         AddedToken("<s>", special=True), AddedToken("Ġodd", special=False, normalized=False), AddedToken("naïve", special=False, normalized=False), AddedToken("日本", special=False)], (["<s>"], []), {}),
    "added-word-flags": (
        None, level(False, True),
        [AddedToken("tok", single_word=True, lstrip=True, special=False), AddedToken("tik", single_word=True, rstrip=True, special=True), AddedToken("\n\n", special=False),
         AddedToken("<s>", rstrip=True, special=True), AddedToken("</s>", lstrip=True, special=True), AddedToken(" the", special=False, normalized=False), AddedToken("the", special=False)], None, {}),
    "unk": (None, level(False, True), PLAIN + ["<unk>"], None, {"unk_token": "<unk>", "small": True}),
    "unk-fused": (None, level(False, True), PLAIN + ["<unk>"], None, {"unk_token": "<unk>", "fuse_unk": True, "small": True}),
    "no-unk-small": (None, level(False, True), PLAIN, None, {"small": True}),
}

ODD = [
    "", " ", "  ", "   a", "a   ", "\n", "\r\n", "\r\n\r\n x", "a\tb", "a\u00a0b", "a\u2003b", "a\u3000b", "\u200b", "\u0085", "\ufeffx", "\x00", "\x7f\x80", "\u2028x\u2029",
    "don't I'll THEY'RE we'VE 'S 's'", "it\u2019s", "'\u017f \u017ft \u212a", "123", "1234567", "1,234,567.89", "\u00bd\u2460\u0664\u0665", "x\u00b2", "e\u0301", "E\u0301te\u0301 \u00c9lan", "A\u030a\u0327",
    "\ud55c\uae00", "\u1112\u1161\u11ab", "日本語 テスト 漢字かな交じり文", "你好，世界！123", "Привет, мир", "שלום עולם", "السلام عليكم", "हिन्दी में", "ภาษาไทย", "👍🏽 👨‍👩‍👧‍👦 🇩🇪", "n\u0303o", "ﬁ ﬀ", "ǅ ǈ",
    "camelCaseString HTTPServer snake_case_name", "a/b//c\n\n/d", "if (x == 1) {\n\treturn \"y\";\n}\n", "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|", "<s>a</s>", " <mask> x", "a <r>   b", "a  <lr>  <mask> b",
    "word words wordword word. a_word word-word", "raw\u0301 rawr", "tok tok. tokx x tok  y", " tik  tok tik", "the the  the other", "Ġodd Ġ odd", "naïve na\u0308ive nai\u0308ve", "日本x日", "<unk>", "§±", "e\u0301" * 20, "a\u0300\u0301\u0302" * 5,
    "\u0344 \u0958 \u2126 \u212b", "x" * 300, " " * 100 + "y", "ab" * 200, "\u0e01\u0e33", "\U0001d400\U00020000", "\u180e|\u2060|\u00ad",
]


def texts(shared, rng):
    out = list(ODD)
    for name in ("qwen3", "gpt2"):
        for line in open(os.path.join(shared, "data/tokenizer_vectors", name + ".jsonl"), encoding="utf-8"):
            out.append(json.loads(line)["text"])
    pieces = [t for t in ODD if t] + list(" \n\t'\"_-.,:;!?()[]{}<>|/\\@#$%^&*+=~`") + ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "word", "Élan", "  "]
    for _ in range(300):
        out.append("".join(rng.choice(pieces)[: rng.randint(1, 12)] for _ in range(rng.randint(1, 8))))
    for _ in range(200):  # characters from everywhere
        out.append("".join(chr(rng.choice([rng.randint(1, 0x24F), rng.randint(0x300, 0x36F), rng.randint(0x370, 0x2FFF), rng.randint(0x3000, 0xD7FF), rng.randint(0xF900, 0x1F9FF), 32, 32, 10])) for _ in range(rng.randint(1, 30))))
    return list(dict.fromkeys(out))


def corpus(shared):
    for line in open(os.path.join(shared, "data/gsm8k/train.jsonl"), encoding="utf-8"):
        yield json.loads(line)["question"]
        if len(line) % 7 == 0:
            yield line
    for line in open(os.path.join(shared, "data/humaneval/HumanEval.0-119.jsonl"), encoding="utf-8"):
        yield json.loads(line)["prompt"]
    yield from ODD * 20


def build(shared, normalizer, pre, added, post, options):
    options = dict(options)
    small = options.pop("small", False)
    tok = Tokenizer(models.BPE(**options))
    tok.pre_tokenizer = pre
    if normalizer is not None:
        tok.normalizer = normalizer
    alphabet = [] if small else pre_tokenizers.ByteLevel.alphabet()
    lines = ["hello world this is a small one 123"] * 50 if small else list(corpus(shared))[:4000]
    tok.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, special_tokens=["<unk>"] if "unk_token" in options else [], show_progress=False))
    for t in added:
        if isinstance(t, str) or t.special:
            tok.add_special_tokens([t])
        else:
            tok.add_tokens([t])
    if post:
        tok.post_processor = template(tok, *post)
    else:
        tok.post_processor = processors.ByteLevel(trim_offsets=True)
    tok.decoder = decoders.ByteLevel()
    return tok


def unknown(tokens, pre):
    """A tokenizer that knows few bytes."""
    tok = Tokenizer(models.BPE(vocab={"<unk>": 0, **{t: i + 1 for i, t in enumerate(tokens)}}, merges=[], unk_token="<unk>", fuse_unk=not tokens))
    tok.pre_tokenizer, tok.decoder = pre, decoders.ByteLevel()
    return tok


def dialect(out, lines):
    every = sorted(pre_tokenizers.ByteLevel.alphabet())
    for i, expr in enumerate(DIALECT):
        c = Cases(out, f"regex-{i:03}")
        for name, tokens, behavior in (("cut", [], "isolated"), ("left", every, "removed"), ("next", [], "merged_with_next")):
            try:
                tok = unknown(tokens, seq(split(expr, behavior), level()))
            except BaseException as e:
                print(expr, "cannot be built:", e)
                break
            os.makedirs(os.path.join(c.dir, name), exist_ok=True)
            tok.save(os.path.join(c.dir, name, "tokenizer.json"))
            for text in lines:
                c.add(["encode", "--tokenizer", "@/" + name], {"text": text}, {"ids": tok.encode(text).ids}, note=expr)
        c.close()


def char_models(shared):
    """SentencePiece's BPE as transformers converts it: the vocabulary of Phi-3, merges by score."""
    import gguf

    r = gguf.GGUFReader(os.path.join(shared, "data/gguf_vocab/ggml-vocab-phi-3.gguf"))
    tokens, scores = r.fields["tokenizer.ggml.tokens"].contents(), r.fields["tokenizer.ggml.scores"].contents()
    vocab = {t: i for i, t in enumerate(tokens[:32000])}
    merges = []
    for t, i in vocab.items():
        if t.startswith("<0x"):
            continue
        for k in range(1, len(t)):
            if t[:k] in vocab and t[k:] in vocab:
                merges.append((-scores[i], vocab[t[:k]], vocab[t[k:]], t[:k], t[k:]))
    merges = [m[3:] for m in sorted(merges)]
    mark = "\u2581"
    back = [decoders.Replace(mark, " "), decoders.ByteFallback(), decoders.Fuse()]
    strip = decoders.Sequence(back + [decoders.Strip(" ", 1, 0)])
    legacy = normalizers.Sequence([normalizers.Prepend(mark), normalizers.Replace(" ", mark)])
    meta = pre_tokenizers.Metaspace
    added = [AddedToken("<s>", special=True), AddedToken("</s>", special=True, rstrip=True), AddedToken("<|user|>", special=True, rstrip=True), AddedToken("<|im_start|>", special=True), AddedToken("word", special=False, single_word=True),
             AddedToken("  ", special=False, normalized=False), AddedToken("Élan x", special=False, normalized=True)]
    plain = added[:4]
    spec = {
        "legacy": (legacy, None, strip, plain, {}),
        "legacy-added": (legacy, None, strip, added, {}),
        "meta-first": (None, meta(prepend_scheme="first", split=False), strip, plain, {}),
        "meta-always": (None, meta(prepend_scheme="always", split=False), strip, added, {}),
        "meta-never": (None, meta(prepend_scheme="never", split=False), decoders.Sequence(back), plain, {}),
        "meta-split": (None, meta(prepend_scheme="first", split=True), strip, plain, {}),
        "meta-decoder": (None, meta(prepend_scheme="always", split=True), decoders.Metaspace(prepend_scheme="always"), plain, {"byte_fallback": False}),
        "gemma": (normalizers.Replace(" ", mark), pre_tokenizers.Split(" ", "merged_with_previous"), decoders.Sequence(back), plain, {}),
        "ignore-merges": (None, meta(prepend_scheme="first", split=True), strip, plain, {"ignore_merges": True}),
        "unk": (legacy, None, strip, plain, {"byte_fallback": False, "fuse_unk": False}),
        "unk-fused": (legacy, None, strip, plain, {"byte_fallback": False}),
        "digits": (None, seq(meta(prepend_scheme="always", split=False), pre_tokenizers.Digits(individual_digits=True)), strip, plain, {}),
        "nfc": (normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", mark)]), pre_tokenizers.Split(" ", "merged_with_previous"), strip, added, {}),
    }
    for name, (normalizer, pre, decoder, added, options) in spec.items():
        tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, **{"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, **options}))
        if normalizer is not None:
            tok.normalizer = normalizer
        if pre is not None:
            tok.pre_tokenizer = pre
        tok.decoder = decoder
        for a in added:
            (tok.add_special_tokens if a.special else tok.add_tokens)([a])
        tok.post_processor = template(tok, ["<s>"])
        yield "char-" + name, tok


def run_cases(out, name, tok, lines, rng):
    # Of bytes that are not UTF-8 the library's ByteFallback makes one U+FFFD each, and of whole characters in the same run, too; hone, and
    # ByteLevel, one for each maximal part. So broken text is decoded for vocabularies of bytes only.
    chars = name.startswith("char-")
    c = Cases(out, "tok-" + name)
    path = os.path.join(c.dir, "tokenizer.json")
    tok.save(path)
    tok = Tokenizer.from_file(path)
    for text in lines:
        for special in (True, False):
            tok.encode_special_tokens = not special
            for add in ((False, True) if special else (False,)):
                ids = tok.encode(text, add_special_tokens=add).ids
                c.add(["encode", "--tokenizer", "@/"], {"text": text, "special": special, "add_special": add}, {"ids": ids})
        ids = tok.encode(text).ids
        rng.shuffle(ids)
        for ids in ([] if chars else [ids]) + [tok.encode(text).ids]:
            for skip in (False, True):
                c.add(["decode", "--tokenizer", "@/"], {"ids": ids, "skip_special": skip}, {"text": tok.decode(ids, skip_special_tokens=skip)})
    c.close()


def main(out, shared):
    rng = random.Random(7)
    lines = texts(shared, rng)
    dialect(out, [t for t in lines if all(ord(ch) < 0x870 or 0x900 < ord(ch) < 0xD7B0 or ord(ch) > 0xFA00 and ord(ch) < 0x10000 for ch in t)])
    for name, (normalizer, pre, added, post, options) in VARIANTS.items():
        try:
            tok = build(shared, normalizer, pre, added, post, options)
        except BaseException as e:  # an expression that this version of the library does not take
            print(name, "cannot be built:", e)
            continue
        run_cases(out, name, tok, lines, rng)
    for name, tok in char_models(shared):
        run_cases(out, name, tok, lines, rng)


main(*sys.argv[1:])
