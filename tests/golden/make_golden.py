"""Make the reference vectors the tests compare with, by sentence-transformers in fp32 on the CPU.

Every text is written here, or built here from texts written here, so the files need nothing but the model:

    python make_golden.py MODEL_DIR        (sentence-transformers and torch installed; see README.md)

It writes `texts.jsonl` (id, text, tokens: the WordPiece count with [CLS] and [SEP], uncut) and `vectors.npz`:
`seq256` (one row a text, cut at 256 tokens as the reference cuts), `windows_index` and `windows` (the texts over 256
tokens, by the rule for long inputs: windows of 254 content tokens, weighted by their length).
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

HERE = Path(__file__).parent
WINDOW = 254  # content tokens, without [CLS] and [SEP]
LIMIT = 8192

PLAIN = {
    "ascii": "The quick brown fox jumps over the lazy dog.",
    "one-letter": "a",
    "one-digit": "7",
    "upper": "WHY IS THE SKY BLUE, AND WHY ARE SUNSETS RED?",
    "mixed-case": "iPhone McDonald eBay LaTeX NaN",
    "numbers": "3.14159, 1,000,000 and 6.022e23; 0x7F, 1/2, -40 °C, 99.9 %",
    "punctuation": "...!?;:-- (a) [b] {c} <d> \"e\" 'f' `g` ~h~ @i #j $k %l ^m &n *o +p =q |r \\s /t",
    "contractions": "I'd say it's what they've always done, isn't it? Rock 'n' roll's here.",
    "url": "See https://user:pw@example.org:8443/a/b.html?q=caf%C3%A9&x=1#top or mail first.last+tag@example.co.uk",
    "code": "def add(a: int, b: int = 2) -> int:\n    return a + b  # noqa\n",
    "html": '<p class="lead">A &amp; B</p><!-- no comment --><br/>',
    "json": '{"vector": [0.25, -1e-07, null], "ok": true}',
    "sql": "SELECT id, max(score) FROM hits WHERE name LIKE '%o''neil%' GROUP BY id;",
    "hex": "de305d54-75b4-431b-adb2-eb6b9e546014 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c",
    "rare-words": "Pneumonoultramicroscopicsilicovolcanoconiosis and floccinaucinihilipilification",
    "repeated": "ha " * 40 + "!",
}

LANGUAGES = {
    "french": "Où est passée la bibliothèque ? L'été dernier, nous y avons rêvé près du cœur de la forêt.",
    "german": "Die Straße war naß; Größe, Übermut und Äpfel — alles außer Gewöhnlichem.",
    "spanish": "¿Cuándo llegó el pingüino? ¡Mañana, señor, al anochecer!",
    "portuguese": "Amanhã não haverá pão nem maçãs, só corações à mão.",
    "polish": "Zażółć gęślą jaźń: źdźbło trawy śni o łące.",
    "czech": "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "turkish": "İstanbul'da ılık bir ışık; ĞÜŞİÖÇ ve ığdır.",
    "vietnamese": "Tiếng Việt có sáu thanh: ngang, huyền, sắc, hỏi, ngã, nặng.",
    "icelandic": "Það er ævintýri að þýða þessa setningu.",
    "greek": "Η γρήγορη αλεπού πηδάει πάνω από το τεμπέλικο σκυλί· ΌΔΟΣ, ὁδός.",
    "russian": "Быстрая лиса перепрыгнула через ленивую собаку, ещё и съёжилась.",
    "ukrainian": "Щастя б'ється об їжака, ґанок і єдиний міст.",
    "bulgarian": "Жълтата дюля беше щастлива, че пухът цъфна.",
    "serbian": "Љубазни фењерџија чађавог лица хоће да ми покаже штос.",
    "georgian": "სწრაფი მელა გადახტა ზარმაც ძაღლზე.",
    "armenian": "Արագ աղվեսը ցատկեց ծույլ շան վրայով։",
    "hebrew": "השועל המהיר קפץ מעל הכלב העצלן; שָׁלוֹם עֲלֵיכֶם.",
    "arabic": "قفز الثعلب السريع فوق الكلب الكسول، ثم نام. مُحَمَّدٌ ـــ ٱلسَّلَامُ",
    "persian": "می‌خواهم کتاب‌ها را بخوانم؛ ۱۲۳۴",
    "urdu": "تیز لومڑی سست کتے کے اوپر سے کود گئی۔",
    "hindi": "तेज़ लोमड़ी आलसी कुत्ते के ऊपर से कूद गई। क्षत्रिय, ज्ञान, श्री — १२३",
    "bengali": "দ্রুত শিয়াল অলস কুকুরের উপর লাফ দিল।",
    "tamil": "விரைவான நரி சோம்பேறி நாயின் மீது பாய்ந்தது.",
    "telugu": "వేగవంతమైన నక్క బద్ధకపు కుక్క మీదుగా దూకింది.",
    "thai": "สุนัขจิ้งจอกกระโดดข้ามสุนัขขี้เกียจ แล้วก็หลับไป ๑๒๓",
    "lao": "ໝາຈອກໄວໂດດຂ້າມໝາຂີ້ຄ້ານ",
    "khmer": "កញ្ជ្រោងរហ័សលោតផ្លោះលើឆ្កែខ្ជិល",
    "burmese": "မြန်ဆန်သောမြေခွေးသည် ပျင်းသောခွေးကို ခုန်ကျော်သည်။",
    "tibetan": "བོད་སྐད་ཀྱི་ཚིག་གྲུབ་གཅིག",
    "amharic": "ፈጣኑ ቀበሮ ሰነፉን ውሻ ዘለለው።",
    "chinese-simplified": "敏捷的狐狸跳过了懒狗。今天天气很好，我们去公园吧！",
    "chinese-traditional": "敏捷的狐狸跳過了懶狗。「今天天氣很好」，他說。",
    "japanese": "素早い狐が怠け者の犬を飛び越えた。カタカナとひらがな、ガギグゲゴ、ﾊﾝｶｸ。",
    "korean": "빠른 여우가 게으른 개를 뛰어넘었다. 안녕하세요, 세계!",
    "cjk-in-latin": "The word 水 means water, 火山 means volcano, and 東京tower is one token soup.",
    "all-at-once": "hello мир 世界 नमस्ते สวัสดี سلام שלום 안녕 γειά",
}

ODD = {
    "emoji": "I ❤️ this 😀😂🔥 so much 🎉",
    "emoji-zwj": "family 👨‍👩‍👧‍👦, pride 🏳️‍🌈, pilot 👩🏽‍✈️, heart on fire ❤️‍🔥",
    "emoji-flags-keycaps": "🇫🇷🇯🇵 1️⃣2️⃣3️⃣ #️⃣ 🏴󠁧󠁢󠁳󠁣󠁴󠁿 ☎︎ ☎️",
    "emoji-only": "🦊",
    "combining": "e\u0301 o\u0308 n\u0303 is \u00e9 \u00f6 \u00f1; a\u0323\u0302 \u1ead; \u0301 alone",
    "combining-zalgo": "z\u0351\u036b\u0343a\u0321\u034d\u0355l\u0334\u0357g\u0361\u0489o\u0322\u033a",
    "nfc-word": "r\u00e9sum\u00e9 na\u00efve co\u00f6perate \u00c5ngstr\u00f6m",
    "nfd-word": "re\u0301sume\u0301 nai\u0308ve coo\u0308perate A\u030angstro\u0308m",
    "hangul-jamo": "\u1112\u1161\u11ab\u1100\u1173\u11af is \ud55c\uae00",
    "kana-dakuten": "か\u3099き\u3099 がぎ",
    "zero-width": "zero\u200bwidth\u200cjoin\u200der\u2060word\ufeffmark",
    "bidi-controls": "left \u202eright\u202c \u2066isolate\u2069 \u200emark\u200f",
    "soft-hyphen": "co\u00adoperate hyphen\u2010ate en\u2013dash em\u2014dash non\u2011break",
    "nul": "before\x00after \x00 alone",
    "controls": "bell\x07 back\x08space esc\x1b[31mred\x1b[0m del\x7f c1\x85next\x9f form\x0cfeed vt\x0b.",
    "whitespace-kinds": "tab\tline\nreturn\r\nnbsp\u00a0em\u2003ideographic\u3000line\u2028para\u2029thin\u2009end",
    "whitespace-runs": "  many     spaces \n\n\n\n and\t\t\ttabs   ",
    "whitespace-only": " \t\r\n \u00a0\u3000 ",
    "removed-only": "\x00\u200b\ufeff\x07",
    "replacement": "bad \ufffd byte \ufffd\ufffd",
    "noncharacters": "x\ufffey\uffffz \ufdd0 \U0010ffff",
    "private-use": "\ue000 icon \uf8ff \U000f0000",
    "unassigned": "\u0378 \u2fe0 \U0003ffff?",
    "unknown-script": "𐎀𐎁𐎂 𓀀𓀁 𒀀",
    "cjk-extension-b": "𠀀𠮷野家 and 𪚥",
    "math-letters": "𝐇𝐞𝐥𝐥𝐨 ℍ𝕖𝕝𝕝𝕠 ∑∫√∞≠≤ x² H₂O ½ ⅷ",
    "fullwidth": "Ｆｕｌｌ　ｗｉｄｔｈ，１２３！",
    "ligatures": "ﬁnd the ﬂow oﬃce; Ǆ ĳ œuvre æon",
    "circled": "① ② Ⓐ ㊗ ㍻ ™ © ® № ℃",
    "box-drawing": "┌─┬─┐ │ ▓▒░ │ └─┴─┘ →←↑↓ ⇒ ✓ ✗ ★",
    "currency": "€5 £6 ¥7 ₹8 ₿9 ¢10 ₽11",
    "quotes": "“double” ‘single’ «guillemets» „low“ ‚low‘ 「corner」 … ¿?",
    "special-tokens": "[CLS] [MASK] of the [SEP] text [UNK] and [PAD] here",
    "special-tokens-glued": "a[MASK]b [mask] [Cls] [ CLS ] [SEP][SEP]",
    "wordpiece-marks": "##ing ## #hash play ##ing",
    "special-tokens-other": "<s> </s> <|endoftext|> <unk> [unused1] <pad>",
    "word-100": "a" * 100,
    "word-101": "b" * 101,
    "word-long-inside": "the word " + "x" * 300 + " is one unknown token",
    "word-long-accents": "e\u0301" * 101 + " and " + "é" * 100,
    "word-long-cjk": "狐" * 120,
    "word-with-hyphens": "-".join(["long"] * 60),
    "digits-long": "1234567890" * 10,
    "dots-long": "." * 150,
    "newlines": "\n".join(["line one", "", "line two", "\r", "line three"]),
}

SENTENCES = (
    "A bridge carries what crosses it and is held by what does not move.",
    "The baker weighed the flour twice, because the first scale had lied before.",
    "In 1969 two people walked on the Moon; a third one waited, alone, in orbit.",
    "Photosynthesis turns carbon dioxide and water into glucose, oxygen being the by-product.",
    "When the queue was full, the server answered politely and asked to be called again.",
    'Her grandmother\'s recipe asked for 250 g of sugar, "or rather less, if the fruit is ripe".',
    "Interest accrues daily at 3.75 % and is credited at the end of each calendar month.",
    "Nobody had told the lighthouse keeper that the ships now steered by satellite.",
    "A hash table trades memory for time, and a B-tree trades both for the disk.",
    "The committee postponed the vote, reopened the debate, and adjourned for lunch.",
    "Antihistamines relieve hay fever but may cause drowsiness, dry mouth or dizziness.",
    "He tuned the cello by ear, a little flat, the way his teacher had liked it.",
)
MULTILINGUAL = tuple(LANGUAGES.values())
EXACT = (254, 255, 256, 257, 258, 510, 511, 512, 513, 766, 1024, 2048, LIMIT)
EXACT_MULTILINGUAL = (255, 256, 257, 511, 513)


def exact(tokens: int, sentences: tuple[str, ...], count: Callable[[str], int]) -> str:
    """A text of exactly so many tokens with [CLS] and [SEP]: words in a cycle, then one-token words for the rest."""
    words: Iterator[str] = itertools.cycle(word for sentence in sentences for word in sentence.split())
    left, text = tokens - 2, []
    for word in words:
        size = count(word)  # spaces part words before WordPiece does, so counts add up
        if size > left:
            break
        text.append(word)
        left -= size
    return " ".join(text + ["the"] * left)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the golden texts and vectors (see the head of this file).")
    parser.add_argument("model", help="folder of the model in sentence-transformers' layout")
    model_dir = parser.parse_args().model

    torch.set_num_threads(1)  # sums in one order
    model = SentenceTransformer(model_dir, device="cpu")
    tokenizer, bert = model.tokenizer, model[0].auto_model

    def content(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"]
        return ids

    def embed(ids: list[int]) -> NDArray[np.float64]:
        with torch.inference_mode():
            hidden = bert(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))[0][0]
        mean: NDArray[np.float64] = hidden.double().mean(0).numpy()
        return mean / np.linalg.norm(mean)

    def window_mean(ids: list[int]) -> NDArray[np.float64]:
        total = np.zeros(384)
        for start in range(0, len(ids), WINDOW):
            window = [tokenizer.cls_token_id, *ids[start : start + WINDOW], tokenizer.sep_token_id]
            total += embed(window) * len(window)
        return total / np.linalg.norm(total)

    texts = PLAIN | LANGUAGES | ODD
    texts |= {f"exact-{n}": exact(n, SENTENCES, lambda text: len(content(text))) for n in EXACT}
    texts |= {
        f"exact-{n}-multilingual": exact(n, MULTILINGUAL, lambda text: len(content(text))) for n in EXACT_MULTILINGUAL
    }
    ids = [content(text) for text in texts.values()]
    for (name, _), one in zip(texts.items(), ids, strict=True):
        assert not name.startswith("exact") or len(one) + 2 == int(name.split("-")[1]), name

    # One text a batch: padding would move the last bits.
    seq256 = model.encode(list(texts.values()), batch_size=1, convert_to_numpy=True, show_progress_bar=False)
    index = [i for i, one in enumerate(ids) if len(one) + 2 > 256]
    windows = np.array([window_mean(ids[i]) for i in index], np.float32)

    by_hand = [embed([tokenizer.cls_token_id, *one[:WINDOW], tokenizer.sep_token_id]) for one in ids]
    difference = np.abs(seq256 - np.array(by_hand)).max()
    assert difference < 1e-6, f"the reference and its own parts differ by {difference}"

    with (HERE / "texts.jsonl").open("w", encoding="ascii") as out:
        for (name, text), one in zip(texts.items(), ids, strict=True):
            out.write(json.dumps({"id": name, "text": text, "tokens": len(one) + 2}) + "\n")
    np.savez_compressed(
        HERE / "vectors.npz", seq256=seq256.astype(np.float32), windows=windows, windows_index=np.array(index)
    )
    print(f"{len(texts)} texts, {len(index)} over 256 tokens; by hand within {difference:.1e} of the reference")


if __name__ == "__main__":
    main()
