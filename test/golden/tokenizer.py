"""Golden vectors of tokenizers: Hugging Face's own library trains small ones and encodes and decodes texts with them.

Run: pip install tokenizers==0.23.2; python3 test/golden/tokenizer.py -> tokenizer.json
Each entry: the tokenizer.json (its model by number), and for each text its ids, its ids with special tokens, and what they decode to without special tokens.
"trained" holds the merges of BpeTrainer alone (ties included), for src/llm/train-tokenizer.ts.
"""
import json
import os
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

PROSE = """The lowest tower was newer than the widest river, and the lower flowers grew slower. They're, we'll, I'M, it's, don't: 12345 67,890.
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Les élèves naïfs déjeunèrent à l'hôtel près du château, où l'œuvre dort.
Съешь же ещё этих мягких французских булок, да выпей чаю. 我能吞下玻璃而不伤身体。いろはにほへと ちりぬるを。 나는 유리를 먹을 수 있어요.
def f(x):\n\treturn [x ** 2 for x in range(10)]  # squares\n\n\n    if a != b and c >= d:   pass
""" * 3
TEXTS = [
    "", " ", "a", "Hello, world!", " leading and trailing ", "two  spaces   three    four", "line\nbreak\r\n\r\n\n  indented\t\ttabs",
    "They're here; WE'LL see, it'S I'm.", "1 22 333 4444 55555 3.14 ½ ² ٣٤", "naïve café déjà vu", "Zwölf Boxkämpfer", "мягких булок", "玻璃而不伤身体 いろは",
    "emoji 🙂👩‍👩‍👧🏳️‍🌈 end", "zero\u200bwidth \u00a0nbsp \u3000wide", "next\u0085line \ufeffbom \u2028sep", "e\u0301 combining e\u0301", "Ａｌｌ ｗｉｄｅ ﬁ ㎏",
    "<s>", "a<s>b", "x </s> y", "<s> </s>", "!?...---''\"\"", "x=[1,2];y={'a':3}//c", "▁underscore▁ mark", "longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglong word",
    "\U0001d54f\U0001f9ff \U000e0041", "tab\tand\x0bvt\x0cff", "mixed русский and 日本語 text", "   ", "\n\n\n", "a\n b\n  c", "<unk>", "%s %d \\n \\u0041",
]
LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
special = lambda t: AddedToken(t, special=True, normalized=False)
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
entries = {}
shared = []  # models, each once


def byte_bpe(pre, size=330, text=PROSE):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator([text], trainers.BpeTrainer(vocab_size=size, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False))
    return t


def record(name, t):
    js = json.loads(t.to_str())
    t = Tokenizer.from_str(json.dumps(js))
    cases = []
    for text in TEXTS:
        ids = t.encode(text, add_special_tokens=False).ids
        more = t.encode(text).ids
        cases.append([text, ids, more, t.decode(ids)])
    model = js.pop("model")
    if model not in shared:
        shared.append(model)
    entries[name] = dict(json=js, model=shared.index(model), cases=cases)


BL = lambda **k: pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **k})
t = byte_bpe(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA), "isolated"), BL()]))
t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", t.token_to_id("<s>"))])
record("llama-bpe", t)
t = byte_bpe(BL(use_regex=True))
t.post_processor = processors.ByteLevel(trim_offsets=False)
record("gpt2", t)
t = byte_bpe(BL(use_regex=True, add_prefix_space=True))
t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
record("roberta", t)
t = byte_bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BL(use_regex=True)]))
t.normalizer = normalizers.NFC()
record("digits-nfc", t)
t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits(), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"), BL()])
record("falcon", t)

# Merges that cross everything, so that ids show where a pre-tokenizer cuts.
loose = byte_bpe(BL(), 420, " ".join(TEXTS[3:]) * 4)
for mode in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
    loose.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(" ", mode), BL()])
    record(f"split-space-{mode}", loose)
    loose.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"[aeiou]+|\d"), mode), BL()])
    record(f"split-regex-{mode}", loose)
loose.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\p{L}+|\s+"), "removed", invert=True), BL()])
record("split-inverted", loose)
loose.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), BL()])
record("punctuation", loose)
loose.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), BL()])
record("whitespace", loose)
loose.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), BL()])
record("whitespace-split", loose)


def pieces(pre, normalizer=None, fallback=True, strip=True, legacy=None):
    """SentencePiece-like BPE: bytes where characters are unknown."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator([PROSE.replace("\n", " ")], trainers.BpeTrainer(vocab_size=260, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=70, show_progress=False))
    js = json.loads(t.to_str())
    vocab = js["model"]["vocab"]
    if fallback:
        for b in range(256):
            vocab[f"<0x{b:02X}>"] = len(vocab)
    js["model"].update(unk_token="<unk>", fuse_unk=True, byte_fallback=fallback)
    t = Tokenizer.from_str(json.dumps(js))
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] + ([decoders.Strip(" ", 1, 0)] if strip else [])
    t.decoder = decoders.Sequence(parts)
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A $B", special_tokens=[("<s>", 1), ("</s>", 2)])
    return t


marks = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
no_pre = pre_tokenizers.Sequence([])
record("llama2", pieces(no_pre, normalizers.Sequence(marks)))
record("llama2-unknown", pieces(no_pre, normalizers.Sequence(marks), fallback=False))
record("llama2-first", pieces(pre_tokenizers.Metaspace(prepend_scheme="first", split=False)))
record("metaspace-split", pieces(pre_tokenizers.Metaspace(prepend_scheme="always", split=True)))
record("gemma", pieces(pre_tokenizers.Split(" ", "merged_with_previous"), normalizers.Replace(" ", "▁"), strip=False))
t = pieces(pre_tokenizers.Metaspace(prepend_scheme="never", split=True))
t.decoder = decoders.Metaspace(prepend_scheme="never")
record("metaspace-never", t)

t = Tokenizer(models.Unigram())
t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
t.pre_tokenizer = pre_tokenizers.Metaspace()
t.decoder = decoders.Metaspace()
t.train_from_iterator([PROSE.replace("\n", " ")] * 3, trainers.UnigramTrainer(vocab_size=220, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False))
record("unigram", t)

t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
t.normalizer = normalizers.BertNormalizer(lowercase=True)
t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
t.decoder = decoders.WordPiece(cleanup=False)
t.train_from_iterator([PROSE], trainers.WordPieceTrainer(vocab_size=250, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False))
t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
record("wordpiece", t)
t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
t.pre_tokenizer = pre_tokenizers.Whitespace()
t.train_from_iterator([PROSE], trainers.WordLevelTrainer(vocab_size=60, special_tokens=["[UNK]"], show_progress=False))
record("wordlevel", t)

trained = []
for text, size, least in [(PROSE, 500, 2), (PROSE, 420, 4), ("abab cdcd abab cdcd efef ab cd ef abcabc bcabca aaaa aaa aaaaaaa", 310, 1)]:
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA), "isolated"), BL()])
    t.train_from_iterator([text], trainers.BpeTrainer(vocab_size=size, min_frequency=least, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False))
    model = json.loads(t.to_str())["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    trained.append(dict(text=text, vocabSize=size, minFrequency=least, vocab=model["vocab"], merges=merges))

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer.json")
with open(path, "w") as f:
    json.dump(dict(models=shared, entries=entries, trained=trained), f, ensure_ascii=True, separators=(",", ":"))
print(os.path.getsize(path), len(entries))
