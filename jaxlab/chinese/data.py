"""What is said of where data come from, and what text becomes, in Chinese."""

TABLE: dict[str, str] = {
    # --- cache ---
    'The cache in "{folder}" belongs to another user, who could change the programs that are run from it.\nThe variable'
    ' JAXLAB_CACHE can name another folder.': (
        '“{folder}”中的缓存属于另一个用户，此人可以改动从中运行的程序。\n环境变量 JAXLAB_CACHE 可以指定另一个文件夹。'
    ),
    'note: others could write to {folder}: it is closed now, and made anew': (
        '注意：其他人曾可以写入 {folder}：现已关闭，内容将重新生成'
    ),
    'length={length}: a row has at least one token.': 'length={length}：一行至少有一个词元。',
    'stride={stride}: windows advance by 1 to length={length} tokens (0: by length).': (
        'stride={stride}：窗口每次前进 1 到 length={length} 个词元（0：前进 length 个）。'
    ),
    '{name}: {size:.1f} MB in {documents:,} documents, {tokens:,} tokens; held out {held_size:.1f} MB in'
    ' {held_documents:,} ({rule}); fingerprint {fingerprint}': (
        '{name}：{documents:,} 个文档，{size:.1f} MB，{tokens:,} 个词元；留出 {held_documents:,} 个文档，'
        '{held_size:.1f} MB（{rule}）；指纹 {fingerprint}'
    ),
    'turning {megabytes:.1f} MB of text into tokens, once': '正在把 {megabytes:.1f} MB 文本转成词元，只需这一次',
    'config.data.processor: this vocabulary loses text of "{document}", so bits per byte would mean nothing.\n'
    'Use one that keeps every byte, such as --config.data.processor.name=bpe': (
        'config.data.processor：这个词表会丢失“{document}”里的部分文本，每字节比特数就没有意义了。\n'
        '请换一个保留每个字节的，例如 --config.data.processor.name=bpe'
    ),
    'config.data.path: {corpus} leaves no text to train on. Held out: {rule}.': (
        'config.data.path：没有可供训练的文本（{corpus}）。留出部分：{rule}。'
    ),
    'config.data.path: {corpus} leaves no text to evaluate on. Held out: {rule}.': (
        'config.data.path：没有可供评估的文本（{corpus}）。留出部分：{rule}。'
    ),
    'Nothing can be written to the cache in "{folder}": {error}.\nThe variable JAXLAB_CACHE can name another folder.': (
        '无法写入缓存文件夹“{folder}”：{error}。\n可用环境变量 JAXLAB_CACHE 指定别的文件夹。'
    ),
    '{summary}; {count:,} records left out': '{summary}；略去 {count:,} 条记录',
    'warning: {folder} is damaged, and is made anew': '警告：{folder} 已损坏，正在重新生成',
    'waiting for another process, which makes {folder}': '正在等待另一个进程生成 {folder}',
    # --- records ---
    'bad="{bad}": {alternatives}': 'bad="{bad}"：没有这种处理方式；{alternatives}',
    'bad_rate={rate}: a share of all records is wanted, from 0 to 1.': (
        'bad_rate={rate}：应为全部记录中的一个比例，从 0 到 1。'
    ),
    'config.data.path: more of {name} cannot be read than config.data.bad_rate={rate} allows: {records:,} records or'
    ' more.\nMend them, or allow more. The first: {first}.': (
        'config.data.path：{name} 中至少 {records:,} 条记录无法读取，超过了 config.data.bad_rate={rate} 的限度。\n'
        '请修好它们，或放宽限度。最先遇到的：{first}。'
    ),
    '{bad:,} of {read:,} records could not be read, more than config.data.bad_rate={rate} allows.\n'
    'The last, in batch {n}: {error}': (
        '{read:,} 条记录中有 {bad:,} 条无法读取，超过了 config.data.bad_rate={rate} 的限度。\n'
        '最后一条在批次 {n}：{error}'
    ),
    'warning: {error} Its row counts for nothing.': '警告：{error}它所在的行不计入。',
    'warning: there are more records that cannot be read; data/skipped counts them': (
        '警告：还有更多记录无法读取；data/skipped 给出总数'
    ),
    'row {slot} of batch {n}': '批次 {n} 的第 {slot} 行',
    '{record} cannot be read ({error}).\nMend it, or leave such records out: --config.data.bad=skip': (
        '无法读取 {record}（{error}）。\n请修好它，或略去这样的记录：--config.data.bad=skip'
    ),
    '{record} cannot be read ({error}).\nMend its disk, or let JAXLAB_CACHE name a folder on another.': (
        '无法读取 {record}（{error}）。\n请修好所在的磁盘，或用环境变量 JAXLAB_CACHE 指定别的磁盘上的文件夹。'
    ),
    '{record} are not what was written there.\nThe next start writes them anew: give the same command.': (
        '{record} 的内容与写入时不同。\n下次启动会重新写入：请再运行同一条命令。'
    ),
    '"{path}", bytes {begin:,} to {end:,}': '“{path}”，字节 {begin:,} 到 {end:,}',
    'warning: batch {n} of this stream cannot be built; the run ends there: {error}': (
        '警告：数据流的批次 {n} 无法生成，运行将在那里结束：{error}'
    ),
    'batch {n} of this stream could not be built': '数据流的批次 {n} 无法生成',
    '(while the batch of step {step} was read)': '（正在读取第 {step} 步的批次）',
    # --- documents ---
    'config.data.path: {record} is not UTF-8 text: byte 0x{byte:02x} at position {position:,}.\n'
    'Convert it first, for example: iconv -f GB18030 -t UTF-8 old.txt > new.txt'
    ' (or leave it out: --config.data.bad=skip)': (
        'config.data.path：{record} 不是 UTF-8 文本：位置 {position:,} 处的字节是 0x{byte:02x}。\n'
        '请先转换编码，例如：iconv -f GB18030 -t UTF-8 old.txt > new.txt（或略去它：--config.data.bad=skip）'
    ),
    'config.data.path: {record} cannot be read ({why}).\nMend it, or leave it out: --config.data.bad=skip': (
        'config.data.path：无法读取 {record}（{why}）。\n请修好它，或略去它：--config.data.bad=skip'
    ),
    'it has become shorter': '它变短了',
    'config.data.path: {record} is empty: it holds no text.\n'
    'Bring it back, take it away, or leave it out: --config.data.bad=skip': (
        'config.data.path：{record} 是空的，没有文本。\n请恢复它、移走它，或略去它：--config.data.bad=skip'
    ),
    'config.data.path: {record} is missing: there are others of these {count:,} files.\n'
    'Bring it back, or go on without it: --config.data.bad=skip': (
        'config.data.path：缺少 {record}：这 {count:,} 个文件中的其他文件在。\n'
        '请恢复它，或不用它继续：--config.data.bad=skip'
    ),
    'warning: left out of {name}, since they cannot be read: {records:,} of {of:,} records ({first})': (
        '警告：{name} 的 {of:,} 条记录中有 {records:,} 条无法读取，已略去（{first}）'
    ),
    '"{path}", line {number:,}': '“{path}”，第 {number:,} 行',
    # --- sources ---
    'the standard library of Python {version}': 'Python {version} 的标准库',
    'whole modules and packages with sha256(name) % 20 == 0': '满足 sha256(name) % 20 == 0 的整个模块和包',
    'This Python has no source text of its standard library in "{folder}" to learn from.\n'
    'Give text of your own: --config.data.path=FOLDER (or a .txt or .jsonl file).': (
        '这个 Python 没有标准库的源代码可供学习（找过“{folder}”）。\n'
        '请给出您自己的文本：--config.data.path=文件夹（或 .txt、.jsonl 文件）。'
    ),
    'config.data.path: the folder "{path}" holds no .txt or .jsonl file.': (
        'config.data.path：文件夹“{path}”里没有 .txt 或 .jsonl 文件。'
    ),
    'config.data.path: there is nothing at "{path}" (looked from "{here}").': (
        'config.data.path：找不到“{path}”（当前文件夹是“{here}”）。'
    ),
    'config.data.path: "{path}" is neither a .txt file, nor a .jsonl file, nor a folder of them.': (
        'config.data.path：“{path}”既不是 .txt 文件，也不是 .jsonl 文件，也不是放着这些文件的文件夹。'
    ),
    'files with sha256(name) % 20 == 0': '满足 sha256(name) % 20 == 0 的文件',
    'the last twentieth of every file': '每个文件的最后二十分之一',
    'lines with sha256(text) % 20 == 0': '满足 sha256(text) % 20 == 0 的行',
    '{files} and {lines}': '{files}，以及{lines}',
    'config.data.path: {record} is no text: {line}\n'
    'Every line of a .jsonl file is an object with its text under the key "text": {{"text": "Once …"}}'
    ' (--config.data.bad=skip leaves others out)': (
        'config.data.path：{record} 不是文本：{line}\n'
        '.jsonl 文件的每一行应是一个对象，文本放在键 "text" 下：{{"text": "从前……"}}'
        '（--config.data.bad=skip 会略去其他行）'
    ),
    # --- processors ---
    'vocabulary={vocabulary}: a byte-level vocabulary has at least {least} tokens.': (
        'vocabulary={vocabulary}：字节级词表至少有 {least} 个词元。'
    ),
    'sample_bytes={value}: must be positive.': 'sample_bytes={value}：必须是正数。',
    'learning {tokens:,} tokens from {megabytes:.1f} MB of text': (
        '正在从 {megabytes:.1f} MB 文本中学习 {tokens:,} 个词元'
    ),
    'path is not set: give the folder of the vocabulary, with encoder.json and vocab.bpe (or tokenizer.json).': (
        '没有设置 path：请给出词表所在的文件夹，里面有 encoder.json 和 vocab.bpe（或 tokenizer.json）。'
    ),
    'path: "{folder}" holds neither encoder.json and vocab.bpe, nor vocab.json and merges.txt, nor tokenizer.json.': (
        'path：“{folder}”里既没有 encoder.json 和 vocab.bpe，也没有 vocab.json 和 merges.txt，也没有 tokenizer.json。'
    ),
    'path: the vocabulary in "{path}" cannot be read: {error}': 'path：无法读取“{path}”里的词表：{error}',
    'path: "{file}" is no byte-level vocabulary (byte-pair encoding over bytes).': (
        'path：“{file}”不是字节级词表（基于字节的 BPE）。'
    ),
    'end_of_text="{token}" is no token of "{path}".{nearest}': 'end_of_text="{token}" 不是“{path}”里的词元。{nearest}',
}
