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
}
