"""What is said of data sources of pictures and tables, in Chinese; see `jaxlab.chinese`."""

TABLE: dict[str, str] = {
    # --- files of pictures ---
    'channels={channels}: 1 (grey), 3 (red, green, blue) or 4 (and opacity) is wanted.': (
        'channels={channels}：应为 1（灰度）、3（红绿蓝）或 4（另加不透明度）。'
    ),
    '{record} has {width:,} × {height:,} pixels; at most {most:,} are read.\n'
    'Make it smaller, or leave such records out: --config.data.bad=skip': (
        '{record} 有 {width:,} × {height:,} 个像素；最多读取 {most:,} 个。\n'
        '请把它缩小，或略去这样的记录：--config.data.bad=skip'
    ),
    '{record} is no picture that can be read ({error}).\nMend it, or leave such records out: --config.data.bad=skip': (
        '{record} 不是能读取的图片（{error}）。\n请修好它，或略去这样的记录：--config.data.bad=skip'
    ),
    'note: {name} has {size:.1f} GB: it is known again by names and sizes, not by what the files hold': (
        '注意：{name} 有 {size:.1f} GB：只按文件名和大小辨认它，不看文件内容'
    ),
    # --- folders of pictures ---
    'path is not set: give a folder that has one folder of pictures for each class.': (
        '没有设置 path：请给出一个文件夹，其中每个类别有一个放图片的文件夹。'
    ),
    'path: there is no folder "{path}" (looked from "{here}").': 'path：没有文件夹“{path}”（当前文件夹是“{here}”）。',
    'note: {name}: {count:,} files are left out: {suffixes} of the classes are read': (
        '注意：{name}：略去 {count:,} 个文件：只读取各类别中的 {suffixes}'
    ),
    'path: both "{first}" and "{second}" would be the part "{part}"; take one away.': (
        'path：“{first}”和“{second}”都会是“{part}”部分；请移走一个。'
    ),
    'path: the folder "{folder}" cannot be listed ({error}).': 'path：无法列出文件夹“{folder}”的内容（{error}）。',
    'path: "{folder}" has {count} folders of pictures; a classification has two classes or more, each in a folder of'
    ' its own.': 'path：“{folder}”里有 {count} 个放图片的文件夹；分类至少要有两个类别，各在自己的文件夹里。',
    'path: "{folder}" has no folder "{label}", which another part has; every part wants every class.': (
        'path：“{folder}”里没有文件夹“{label}”，而另一部分有；每一部分都应有所有类别。'
    ),
    'path: the class "{folder}" holds no picture ({suffixes}).': 'path：类别“{folder}”里没有图片（{suffixes}）。',
    # --- sets that TFDS has prepared ---
    'set="{set}": its feature "{label}" has no classes.': 'set="{set}"：它的特征“{label}”没有类别。',
    'set="{set}": the pictures of "{picture}" hold numbers of type {dtype}; uint8 or uint16 are wanted.': (
        'set="{set}"：“{picture}”中的图片是 {dtype} 类型的数；应为 uint8 或 uint16。'
    ),
    'set="{set}": its file "{file}" is missing.': 'set="{set}"：缺少它的文件“{file}”。',
    'note: {name}: the part "{part}" has no labels, and is left out': ('注意：{name}：“{part}”部分没有标签，不使用它'),
    '{record} is of class {target}; classes are 0 to {last}.\n'
    'Mend it, or leave such records out: --config.data.bad=skip': (
        '{record} 的类别是 {target}；类别应为 0 到 {last}。\n请修好它，或略去这样的记录：--config.data.bad=skip'
    ),
    'record {index:,} of {part}': '{part} 的第 {index:,} 条记录',
    'this source wants TensorFlow Datasets ({error}); bash launch/setup.sh --extras=tfds installs it.': (
        '这个数据源需要 TensorFlow Datasets（{error}）；运行 bash launch/setup.sh --extras=tfds 即可安装。'
    ),
    'the prepared set in "{folder}" cannot be read ({error}).': '无法读取“{folder}”中已准备好的数据集（{error}）。',
    '{part}="{split}" is no part of {set} ({error}); {alternatives}': (
        '{part}="{split}" 不是 {set} 的一部分（{error}）；{alternatives}'
    ),
    'set="{set}": the name of a set is wanted, such as mnist or cifar10_1/v6.': (
        'set="{set}"：应为数据集的名字，例如 mnist 或 cifar10_1/v6。'
    ),
    'version="{version}" of {set} is not in "{folder}"; {alternatives}': (
        '“{folder}”中没有 {set} 的 version="{version}"；{alternatives}'
    ),
    'set="{set}": this set has configurations: set="{set}/{first}"; {alternatives}': (
        'set="{set}"：这个数据集有多种配置：set="{set}/{first}"；{alternatives}'
    ),
    'set="{set}" is not prepared in "{folder}".{nearest} To prepare it, once:'
    ' python -m jaxlab.main prepare --config=…\n'
    'If it lies elsewhere: --config.data.source.dir=…, or the variable TFDS_DATA_DIR.': (
        '“{folder}”中没有准备好 set="{set}"。{nearest}只需准备一次：python -m jaxlab.main prepare --config=…\n'
        '如果它在别处：--config.data.source.dir=…，或环境变量 TFDS_DATA_DIR。'
    ),
    'the set in "{folder}" consists of {form} files, which cannot be read by number.\n'
    'Prepare it in another folder: python -m jaxlab.main prepare --config=… --config.data.source.dir=…': (
        '“{folder}”中的数据集由 {form} 文件组成，无法按编号读取。\n'
        '请在另一个文件夹里准备：python -m jaxlab.main prepare --config=… --config.data.source.dir=…'
    ),
    'the set in "{folder}" has a feature "{name}", which is code from outside TensorFlow Datasets.': (
        '“{folder}”中的数据集有特征“{name}”，它是 TensorFlow Datasets 之外的代码。'
    ),
    'set="{set}" has no named features.': 'set="{set}" 没有带名字的特征。',
    '{argument}="{name}" is no feature of {set} of the kind {kind}; {alternatives}': (
        '{argument}="{name}" 不是 {set} 中 {kind} 类的特征；{alternatives}'
    ),
    'set="{set}" has no feature of the kind {kind}; it has: {features}': (
        'set="{set}" 没有 {kind} 类的特征；它有：{features}'
    ),
    'set="{set}" has several features of the kind {kind}: say which, --config.data.source.{argument}={first};'
    ' {alternatives}': (
        'set="{set}" 有多个 {kind} 类的特征：请指明用哪个，--config.data.source.{argument}={first}；{alternatives}'
    ),
    'set="{set}" has no part "train"; --config.data.source.train=… can be any of it: {splits}.': (
        'set="{set}" 没有“train”部分；--config.data.source.train=… 可以是其中任何一个：{splits}。'
    ),
    # --- prepare ---
    'Download and prepare the data set of a config, once.': '下载并准备好一个配置的数据集，只需一次。',
    'the experiment whose data are wanted: a file, with a size after a colon': (
        '需要数据的实验：一个文件，冒号后面是规模'
    ),
    '--config={config}: there is nothing to prepare: config.data.source is not tfds.': (
        '--config={config}：没有什么要准备的：config.data.source 不是 tfds。'
    ),
    'say whose data to prepare: --config=configs/….py': '请指明要准备谁的数据：--config=configs/….py',
    '{set} is prepared already: "{folder}"': '{set} 已经准备好了：“{folder}”',
    'to prepare {set} takes TensorFlow, for this one time: bash launch/setup.sh --extras=prepare\n'
    "(or: pip install -e '.[prepare]')": (
        '准备 {set} 需要 TensorFlow，只需这一次：bash launch/setup.sh --extras=prepare\n'
        "（或 pip install -e '.[prepare]'）"
    ),
    'downloading {set}, {size:,.0f} MB, to "{folder}"': '正在下载 {set}，{size:,.0f} MB，到“{folder}”',
    '{set} is prepared: "{folder}"': '{set} 准备好了：“{folder}”',
    'set="{set}": TensorFlow Datasets has no builder of this name.{nearest}\n'
    'The catalogue: https://www.tensorflow.org/datasets/catalog/overview': (
        'set="{set}"：TensorFlow Datasets 没有这个名字的数据集。{nearest}\n'
        '目录：https://www.tensorflow.org/datasets/catalog/overview'
    ),
    'set="{set}": {error}': '数据集 set="{set}"：{error}',
    '{set}: a download is damaged, or is not the file it should be ({url}).\n'
    'Take it away from "{folder}", and give the same command again.': (
        '{set}：下载的文件已损坏，或不是应有的文件（{url}）。\n请从“{folder}”中移走它，再运行同一条命令。'
    ),
    '{set} wants files that are fetched by hand and put into "{folder}":\n{instructions}': (
        '{set} 需要手工取得一些文件，放进“{folder}”：\n{instructions}'
    ),
    '{set}: {host} cannot be reached ({error}). A proxy that can: HTTPS_PROXY=http://…, HTTP_PROXY=http://… Or'
    ' prepare it on a machine that can, and copy its folder to "{folder}".\n'
    'Or fetch by hand, and put into "{manual}": {files}': (
        '{set}：无法连接 {host}（{error}）。如果有代理可用：HTTPS_PROXY=http://…，HTTP_PROXY=http://…；'
        '或者在能连接的机器上准备好，再把它的文件夹复制到“{folder}”。\n'
        '或者手工取得以下文件，放进“{manual}”：{files}'
    ),
    '{set}: {error}': '{set}：{error}',
    'and {count:,} more': '另有 {count:,} 个',
    # --- tables ---
    'path is not set: give a .csv file.': '没有设置 path：请给出一个 .csv 文件。',
    'kind="{kind}": {alternatives}': 'kind="{kind}"：没有这个选择；{alternatives}',
    'header="{header}": {alternatives}': 'header="{header}"：没有这个选择；{alternatives}',
    'separator="{separator}": one character is wanted, or tab.': 'separator="{separator}"：应为一个字符，或 tab。',
    'shape={shape}: (height, width, channels) is wanted, such as (28,28,1).': (
        'shape={shape}：应为高、宽、通道数，例如 (28,28,1)。'
    ),
    '{argument}: "{path}" has no column "{name}"; {alternatives}': (
        '{argument}：“{path}”里没有“{name}”这一列；{alternatives}'
    ),
    'ignore: "{name}" is the target.': 'ignore：“{name}”是目标列。',
    'shape={shape}: these are {wanted:,} pixels, and a row of "{path}" has {count:,}.': (
        'shape={shape}：这是 {wanted:,} 个像素，而“{path}”的一行有 {count:,} 个。'
    ),
    '"{path}" has no column "{name}", which the training part has.': '“{path}”里没有“{name}”这一列，而训练部分有。',
    '"{path}" has {count} columns, and the training part has {wanted}.': (
        '“{path}”有 {count} 列，而训练部分有 {wanted} 列。'
    ),
    '"{path}" has no line of data.': '“{path}”里没有数据行。',
    'target: the column "{column}" has one class only: "{name}".': 'target：“{column}”这一列只有一个类别：“{name}”。',
    'note: {name}: {count:,} cells are missing: a number becomes the median of its column, a category none': (
        '注意：{name}：缺少 {count:,} 个值：数字取所在列的中位数，类别则都不取'
    ),
    '{key}: there is no file "{path}" (looked from "{here}").': '{key}：没有文件“{path}”（当前文件夹是“{here}”）。',
    '{record}: {why}.\nMend it, or leave such lines out: --config.data.source.bad=skip': (
        '{record}：{why}。\n请修好它，或略去这样的行：--config.data.source.bad=skip'
    ),
    'warning: {count:,} of {all:,} lines of "{path}" are left out; the first: {error}': (
        '警告：略去“{path}”的 {all:,} 行中的 {count:,} 行；最先的一行：{error}'
    ),
    '"{path}" is not UTF-8 text, after line {number:,}. Convert it first, for example:'
    ' iconv -f GB18030 -t UTF-8 old.csv > new.csv': (
        '“{path}”在第 {number:,} 行之后不是 UTF-8 文本。请先转换编码，例如：iconv -f GB18030 -t UTF-8 old.csv > new.csv'
    ),
    '"{path}" is damaged after line {number:,} ({error}).': '“{path}”在第 {number:,} 行之后已损坏（{error}）。',
    '"{path}" is empty: it has no line of data.': '“{path}”是空的，没有数据行。',
    '"{path}" has one column only; what stands between columns: --config.data.source.separator="{separator}".': (
        '“{path}”只有一列；列与列之间的分隔符：--config.data.source.separator="{separator}"。'
    ),
    '"{path}" has two columns of the name "{name}".': '“{path}”有两列都叫“{name}”。',
    '{count} cells instead of {wanted}': '有 {count} 个值，而不是 {wanted} 个',
    'pixels are whole numbers from 0 to 255': '像素应为 0 到 255 的整数',
    'the column "{column}" is empty in the training part; leave it out: --config.data.source.ignore=("{column}",)': (
        '训练部分中“{column}”这一列是空的；请略去它：--config.data.source.ignore=("{column}",)'
    ),
    'the column "{column}" has {count:,} different words, more than {most:,}; leave it out:'
    ' --config.data.source.ignore=("{column}",)': (
        '“{column}”这一列有 {count:,} 个不同的词，超过 {most:,} 个；请略去它：--config.data.source.ignore=("{column}",)'
    ),
    '"{cell}" in the column "{column}" is no number (is it one of categories?'
    ' --config.data.source.categorical=("{column}",))': (
        '“{column}”这一列中的“{cell}”不是数字（它是类别列吗？--config.data.source.categorical=("{column}",)）'
    ),
    'the target "{column}" is missing': '缺少目标“{column}”',
    'the training part has no class "{name}"': '训练部分没有类别“{name}”',
    'the target "{name}" is no number': '目标“{name}”不是数字',
}
