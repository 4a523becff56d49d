// 简体中文: the views that are loaded later
/** @type {Record<keyof typeof import('./en_pages.js').enPages, string>} */
export const zhPages = {
  // Why
  'why': '为什么？', 'why.title': '原因：{j}', 'why.run': '执行', 'why.log': '日志记载', 'why.zone': '时间按时区 {zone} 显示。', 'why.nothing': '日志中没有相关记载。', 'why.time': '时间', 'why.time.hint': '时间或日期，按任务的时区；留空则说明最近一次和下一次触发。', 'why.ask': '说明', 'why.near': '说明 {at}',
  'difference': '与上次成功执行对比', 'difference.to': '对比对象', 'difference.success': '上次成功的执行', 'difference.with': '与另一次执行对比', 'difference.none': '该任务此前没有成功的执行可供对比。', 'difference.this': '本次执行', 'difference.other': '另一次执行', 'difference.place': '位置与代码', 'difference.same': '相同：{what}。', 'list.comma': '、',
  'difference.log': '日志', 'difference.log.same': '两份日志的 {n} 行内容相同。', 'difference.log.first': '前 {n} 行相同，之后第一处不同：', 'difference.log.over': '日志已结束', 'difference.log.new': '有 {n} 行在另一次执行中从未出现', 'difference.log.how': '对比时忽略时间、数字和标识。', 'difference.log.cut': '从第 {n} 行开始对比：更早的行未保留。',
  'difference.between': '期间的操作', 'difference.between.none': '两次执行之间没有任何变动。', 'difference.between.more': '另有 {n} 项更早的操作未显示',
  'audit.kernel_led': '部署或启动了内核', 'audit.kernel_held': '暂停了全部触发', 'audit.kernel_released': '恢复了全部触发', 'audit.kernel_stopped': '停止了内核',
  'step': '步骤', 'step.start': '开始后',

  // Compare
  'compare': '对比时段', 'compare.span': '时段长度', 'compare.span.24h': '一天', 'compare.span.7d': '一周', 'compare.span.30d': '30 天', 'compare.periods': '本时段与上一时段', 'compare.this': '本时段', 'compare.before': '上一时段', 'compare.absent': '该服务器未启用按时段统计执行的插件“stats”。', 'compare.none': '两个时段内都没有任务执行。', 'compare.cut': '另有 {n} 个变化较小的任务未显示。', 'compare.how': '变化最大的任务排在最前。中位数要求两个时段各有 {p50} 次执行，第 95 百分位数要求 {p95} 次；误差不超过 {error}。',
  'compare.all': '全部任务', 'compare.runs': '已结束', 'compare.success_rate': '成功率', 'compare.p50': '常见耗时（p50）', 'compare.p95': '较慢耗时（p95）', 'compare.lateness_p95': '启动延迟（p95）', 'compare.found': '变化', 'compare.was': '此前 {v}', 'compare.few': '执行次数太少', 'compare.points': '{n} 个百分点', 'compare.change': '{at}：{what}，操作者 {who}', 'compare.changes.more': '另有 {n} 次更早的定义变更', 'compare.incomplete': '自 {at} 起完整',
  'compare.finding.slower': '变慢', 'compare.finding.faster': '变快', 'compare.finding.fails_more': '失败增多', 'compare.finding.fails_less': '失败减少', 'compare.finding.later': '启动更晚', 'compare.finding.more_punctual': '更准时', 'compare.finding.new': '新出现', 'compare.finding.gone': '不再执行',

  'yes': '是',
  'crumbs': '当前位置',
  'fact.labels': '标签',

  'event.scheduled': '已安排', 'event.handed_over': '已移交', 'event.started': '开始', 'event.progress': '进度', 'event.succeeded': '成功', 'event.failed': '失败', 'event.missed': '错过',
  'event.cancelled': '已终止', 'event.snoozed': '已推迟', 'event.cancel_requested': '请求终止', 'event.late_result': '迟到的结果',
  'event.due': '计划时间 {at}', 'event.steps': '步骤：{names}', 'event.step': '进入 {name}', 'event.skipped': '跳过 {names}', 'event.after': '耗时 {t}',
  'outcome.succeeded': '成功', 'outcome.failed': '失败', 'outcome.cancelled': '已终止',
  'role.viewer': '只读', 'role.operator': '操作员', 'role.admin': '管理员', 'worker.online': '在线', 'worker.stopping': '停止中', 'worker.gone': '失联',
  'audit.add': '添加了任务', 'audit.change': '修改了任务', 'audit.remove': '移除了任务', 'audit.pause': '暂停了任务', 'audit.resume': '恢复了任务',
  'audit.trigger': '手动执行了任务', 'audit.cancel': '请求终止执行', 'audit.mark_failed': '将执行标记为失败', 'audit.metadata': '修改了名称或备注', 'audit.describe': '修改了名称或备注', 'audit.hide': '隐藏了一条记录', 'audit.skip': '跳过了一次触发', 'audit.unskip': '撤销了一次跳过', 'audit.backfill': '开始了补跑', 'audit.stop_backfill': '停止了补跑', 'audit.step_down': '让主内核交出主导权',
  'policy.catch_up': '停机之后', 'policy.grace': '宽限时间', 'policy.overlap': '仍在执行时', 'policy.max_instances': '最大并发数', 'policy.debounce': '防抖时间', 'policy.group': '组', 'policy.priority': '优先级', 'policy.after': '前置任务', 'policy.timeout': '超时', 'policy.silence': '最长静默',
  'policy.cancel_grace': '终止宽限', 'policy.retry': '重试', 'policy.runner': '执行方式', 'policy.limits': '资源限制', 'policy.steps': '步骤', 'policy.options': '选项', 'policy.overrides': '可设置的参数',

  'run.lingering.text': '此次执行的代码仍在运行，结束前会一直占用槽位。', 'run.lingering.thread': '此次执行的代码仍在运行，因为线程无法强制终止。它会一直占用槽位，直到自行结束。', 'run.earlier': '上一次', 'run.later': '下一次', 'run.gone': '无法显示此次执行', 'run.unknown': '执行不存在', 'run.unknown.text': '没有执行使用此编号。超过保留期限的执行会被删除。', 'run.rewound': '正在显示事件 #{at}（{time}）时的状态。', 'run.before': '当时还没有这次执行。', 'run.present': '回到现在',
  'parameters': '参数', 'parameters.none': '没有参数。', 'result': '返回值',
  'eta.checked': '此任务已核对 {n} 次执行，其中 {m} 次在估算范围内结束；与范围中点平均相差 {t}。',
  'fact.id': '执行编号', 'fact.due': '计划时间', 'fact.recorded': '记录时间', 'fact.late': '延迟', 'fact.ended': '结束时间', 'fact.reason': '原因', 'fact.detail': '说明', 'fact.count': '涵盖触发次数', 'fact.cancelled.by': '终止者',
  'fact.attempt': '第几次尝试', 'fact.retry.of': '前一次执行', 'fact.snoozes': '此前推迟次数', 'fact.snoozed.until': '推迟至', 'fact.snoozed.to': '再次执行', 'fact.triggered.by': '触发来源', 'fact.force': '跳过守卫', 'fact.runner': '执行方式', 'fact.node': '节点', 'fact.late.result': '迟到的结果',
  'error': '错误', 'traceback': '错误堆栈', 'traceback.folded': '库代码 {n} 帧', 'traceback.repeated': '… 以上 {n} 帧重复 {m} 次', 'traceback.repeated.one': '… 上一帧重复 {m} 次',
  'timeline.run': '事件', 'timeline.gap': '{t}无事件', 'timeline.raw': '查看原始事件', 'timeline.rewind': '查看当时的状态：事件',
  'lens': '视图', 'lens.summary': '概要', 'lens.all': '全部事件', 'lens.json': 'JSON',
  // Look inside
  'inside': '执行内部', 'inside.look': '查看内部', 'inside.again': '再看一次', 'inside.hint': '显示函数当前执行到的代码位置及其进程的资源占用。不会显示变量的值。', 'inside.stale': '已过时：执行已于 {t} 结束。', 'inside.moved': '位置已变', 'inside.same': '位置未变', 'inside.first': '首次查看', 'inside.at': '查看时间', 'inside.cpu': '开始以来的 CPU 时间', 'inside.growth': '开始以来的内存变化', 'inside.memory': '进程内存', 'inside.memory.of': '{m}，峰值 {n}', 'inside.process': '进程', 'inside.shared': '与其他执行共用', 'inside.calls': '{n} 层调用', 'inside.cut': '… 省略 {n} 层调用 …', 'inside.stack': '{n} 的调用栈',

  'log.none': '没有日志。', 'log.level': '最低级别', 'log.wrap': '换行', 'log.follow': '跟随', 'log.search': '在日志中查找', 'log.found': '保留的 {m} 行中有 {n} 行匹配', 'log.total': '共 {n} 行', 'log.line': '第 {n} 行', 'log.missing': '第 {n} 行未保留。', 'log.new': '{n} 行新日志', 'log.only': '仅匹配行', 'log.hits': '第 {n} 处，共 {m} 处', 'log.hits.none': '无匹配', 'log.hit.next': '下一处', 'log.hit.previous': '上一处', 'log.error.next': '跳到下一个错误', 'log.repeated': '… 以上 {n} 行重复 {m} 次', 'log.repeated.one': '… 上一行重复 {m} 次', 'log.more.lines': '还有 {n} 行', 'log.more.characters': '还有 {n} 个字符', 'log.less': '收起', 'log.gone': '第 1 至 {n} 行未保留', 'log.count.error': '{n} 个错误', 'log.count.warning': '{n} 个警告', 'log.download': '下载', 'log.download.found': '下载 {n} 行',

  'job.gone': '任务 {id} 不存在', 'job.gone.text': '没有任务使用此标识，也没有它的执行记录。任务可能已改名或删除。', 'job.near': '您要找的是不是：', 'figures': '统计', 'figures.rate': '成功率', 'figures.p50': '通常（p50）', 'figures.p95': '较慢（p95）',
  'next.times': '执行时间', 'paused.by': '操作者 {who}', 'durations': '耗时', 'durations.none': '尚无已结束的执行。', 'durations.late': '启动延迟', 'durations.many': '{n} 次执行，最差的一次：', 'durations.changes': '定义变更：', 'durations.band': 'p50 至 p95', 'durations.label': '最近 {n} 次：半数不超过 {p50}，95% 不超过 {p95}',
  'heat': '按星期与小时', 'heat.measure': '显示内容', 'heat.duration': '按星期与小时的耗时中位数', 'heat.failures': '按星期与小时的失败率', 'heat.failures.short': '失败率', 'heat.median': '中位数', 'heat.hour': '时段', 'heat.cell': '{v}，{n} 次',
  'decisions': '调度决策', 'decisions.none': '尚未到过触发时间。', 'decision.ran': '准时', 'decision.late': '延迟 {t}', 'decision.see': '查看执行', 'decision.see.all': '查看全部 {n} 次',
  'definition': '定义', 'definition.func': '函数', 'definition.args': '位置参数', 'definition.kwargs': '关键字参数', 'audit': '操作记录', 'audit.none': '暂无操作记录。',

  'runs.never': '尚未执行过。', 'runs.all': '此任务的全部执行记录',

  'arg.more': '更多参数（JSON）', 'arg.bad': '{name} 不是合法的 JSON', 'arg.secret': '来自 {where}', 'trigger.kwargs.bad': '参数不是合法的 JSON', 'trigger.kwargs.object': '参数必须是 JSON 对象，例如 {"market": "cn"}。',

  // forecast
  'forecast.period': '时段', 'forecast.next.2h': '未来 2 小时', 'forecast.next.24h': '未来 24 小时', 'forecast.next.7d': '未来 7 天', 'forecast.by.label': '标签，例如 tenant:7',
  'forecast.outcomes': '预计情况', 'forecast.outcome': '预计', 'forecast.end': '预计结束', 'forecast.ends': '{from} 至 {to}', 'forecast.may.overlap': '上一次执行可能尚未结束',
  'forecast.running': '执行中', 'forecast.run': '将执行', 'forecast.waits': '等待槽位', 'forecast.overlap': '错过：上一次未结束', 'forecast.closed': '被守卫规则拦截', 'forecast.skipped': '已跳过', 'forecast.paused': '任务已暂停', 'forecast.held': '全部触发已暂停',
  'forecast.cut.fires': '列出前 {n} 次触发，共 {m} 次。', 'forecast.cut.often': '{n} 个任务每分钟至少触发一次，只显示频率。', 'forecast.cut.jobs': '另有 {n} 个较晚触发的任务未显示。', 'forecast.cut.lanes': '图中显示 {m} 个任务中最先触发的 {n} 个。',
  'forecast.none': '此时段内没有触发。', 'forecast.missing': '预测需要 stats 插件：请在配置中添加 [plugins.stats]。', 'forecast.label': '{n} 个任务未来的触发', 'forecast.unlisted': '此后的触发只计数，不列出',

  // account and wall
  'account.until': '有效期至', 'wall.open': '大屏视图', 'wall.today': '今天', 'wall.link': '大屏链接', 'wall.text': '打开此链接的屏幕无需登录即可查看大屏视图，但看不到其他内容。', 'wall.name': '大屏名称', 'wall.days': '有效天数', 'wall.make': '生成链接', 'wall.revoke': '吊销', 'wall.once': '持有此链接的人都能看到大屏。链接只显示这一次。', 'wall.lost': '连接已断开，数据截至 {t}',

  // activity
  'audit.hold': '暂停了全部触发', 'audit.release': '恢复了全部触发', 'audit.deploy': '部署了新的任务定义', 'audit.accept_rollback': '接受了事件丢失', 'audit.log_in': '登录', 'audit.log_out': '结束了一次登录', 'audit.access': '访问被拒绝',
  'audit.acknowledge': '确认了告警', 'audit.unacknowledge': '撤销了对告警的确认', 'audit.snooze': '静默了告警', 'audit.unsnooze': '取消了告警的静默', 'audit.resolve': '关闭了告警',
  'act.time': '时间', 'act.who': '操作者', 'act.what': '操作', 'act.on': '任务或执行', 'act.why': '原因', 'act.refused': '已拒绝',
  'activity.none': '没有符合条件的操作。', 'activity.nobody': '还没有任何操作。', 'activity.cut': '显示最近 {n} 条，共 {m} 条。要查看其他操作，请按操作者、任务或时间筛选。', 'activity.only': '只看 {who} 的操作', 'activity.actor': '全部操作者', 'activity.any': '全部操作', 'activity.refused': '仅看被拒绝的', 'activity.all': '此任务的全部操作',
  'activity.runs': '执行', 'activity.jobs': '任务', 'activity.alerts': '告警', 'activity.kernel': '内核与部署', 'activity.access': '访问',
  'paused.why': '原因：{reason}',

  'refused.all': '{n} 项被拒绝：{reason}',
  'skip.ask': '跳过 {j} 的一次触发？', 'skip.text': '这次不会执行，到点时记为错过。', 'skip.fire': '触发时间', 'skip.other': '其他时间', 'skip.at': '时间', 'skip.do': '跳过触发', 'skip.dismiss': '保留触发', 'done.skip': '{j} 将跳过 {at}。', 'done.unskip': '{j} 将照常在 {at} 执行。',
  'backfill.ask': '为过去的触发时间执行 {j}？', 'backfill.text': '对计划中每个没有成功记录的过去触发时间执行一次，从最早的开始；重启后会继续。', 'backfill.from': '起始', 'backfill.to': '截止', 'backfill.count': '此时段内有 {n} 次触发', 'backfill.times': '请填写起始和截止时间。', 'backfill.rate': '速率上限', 'backfill.rate.hint': '单位时间内启动的执行数；留空则不限制。', 'backfill.overlap': '同时执行', 'backfill.overlap.hint': '并发数以任务的上限为准；否则逐个执行。', 'backfill.rerun': '已成功的触发时间也重新执行', 'backfill.start': '开始补跑', 'backfill.dismiss': '不补跑', 'backfill.stop.ask': '停止 {j} 的补跑？', 'backfill.stop.text': '不再启动新的执行，已启动的会继续。', 'done.backfill': '{j} 的补跑已开始：{n} 次触发。', 'done.backfill.stop': '{j} 的补跑已停止。',
  'hold.ask': '暂停所有任务的触发？', 'hold.text': '在解除之前（重启后也一样）任何任务都不会触发。正在执行的会继续，也可以手动执行任务。', 'hold.hint': '所有人都能看到。', 'hold.do': '暂停触发', 'hold.dismiss': '继续触发', 'done.hold': '已暂停全部触发。', 'release.ask': '恢复所有任务的触发？', 'release.text': '任务重新触发。暂停期间的触发由各任务的补偿策略决定。', 'release.dismiss': '保持暂停', 'done.release': '已恢复全部触发。',
  'cancel.all.ask': '终止这 {n} 个执行？', 'cancel.all.do': '终止 {n} 个执行', 'cancel.all.none': '没有正在进行的执行。', 'done.cancel.all': '已请求终止 {n} 个执行。',
  'job.id': '标识', 'job.func': '函数', 'job.func.hint': '部署中任务的标识，或 package.module:function。', 'job.schedule': '计划', 'job.schedule.none': '仅手动触发，或见下方', 'job.schedule.cron': 'cron', 'job.schedule.every': '每隔', 'job.schedule.at': '一次，于', 'job.schedule.value': '表达式', 'job.timezone': '时区', 'job.more': '其他键（JSON）', 'job.more.hint': '例如 {"timeout": "10m", "tags": ["night"]}。',
  'job.preview': '预览', 'job.problems': '尚不合法', 'job.fires': '7 天内：新增 {gained} 次触发，减少 {lost} 次',

  'login.title': '登录', 'login.text': '此服务器需要令牌。令牌由服务器的配置文件设定。', 'login.token': '令牌', 'login.do': '登录', 'login.with': '使用 {name} 登录', 'login.wrong': '令牌不正确。', 'login.slow': '失败次数过多，请稍等一分钟。', 'login.unreachable': '无法连接服务器。', 'logout': '退出登录',
  'first.title': '还没有任务', 'first.text': '在配置文件或代码中添加任务：', 'first.config': '写在配置文件中', 'first.python': '写在 Python 中', 'first.reload': '然后使其生效，无需重启：',
  'system.workers': '工作进程', 'system.line': '队列', 'system.queue': '等待 {waiting}，工作进程 {workers}', 'system.load': '忙碌 {active} / {places}', 'system.busy': '正在执行 {active}', 'system.seen': '最近一次心跳 {t}', 'system.nobody': '没有工作进程接收其执行', 'system.groups': '组', 'system.group': '已用 {taken} / {limit}，等待 {waiting}', 'system.parts': '组件', 'system.kernels': '内核', 'kernels.leader': '主内核', 'kernels.follower': '从内核', 'kernels.process': '{node} 上的进程 {pid}', 'kernels.since': '始于', 'kernels.seen': '最近活动', 'kernels.silent': '没有响应，最近活动', 'kernels.none': '没有主内核：任务不会触发，指令在等待。', 'system.log': '事件日志', 'system.page': '本页面', 'system.position': '位置', 'system.id': '标识', 'system.executing': '正在执行', 'system.waiting': '等待执行', 'system.clients': '已连接的客户端', 'system.version': '版本', 'system.link': '连接', 'system.who': '当前身份', 'system.batches': '已接收更新', 'system.lag': '落后 {n}',
  'keys.search': '查找', 'keys.overview': '总览', 'keys.jobs': '任务', 'keys.runs': '执行记录', 'keys.alerts': '告警', 'keys.forecast': '预测', 'keys.activity': '操作记录', 'keys.system': '系统', 'keys.down': '下一行', 'keys.up': '上一行', 'keys.open': '打开', 'keys.select': '选择该行', 'keys.trigger': '立即执行', 'keys.pause': '暂停或恢复', 'keys.cancel': '终止执行', 'keys.actions': '全部可用操作', 'keys.earlier': '上一次执行', 'keys.later': '下一次执行', 'keys.theme': '主题', 'keys.help': '本列表', 'keys.on': '启用快捷键', 'keys.on.hint': '如与语音输入冲突，可关闭。',
  // 时光机
  'past': '时光机', 'past.shown': '正在查看 {at} 的状态。', 'past.back': '回到现在', 'past.scrub': '时刻', 'past.at': '日期与时间', 'past.event.before': '退回上一事件之前', 'past.event.after': '前进到下一事件之后', 'past.running': '{n} 个执行中', 'past.waiting': '{n} 个等待中', 'past.lost': '此时刻前后已有 {n} 条事件因超过保留期而删除，当时的部分执行记录不再显示。', 'past.failures': '整个日志期间的失败次数',

  'fact.warning': '警告', 'event.warned': '警告', 'event.hidden': '已从列表隐藏', 'event.imported': '已导入', 'event.action_imported': '已导入操作', 'fact.imported': '导入自',

  // alerts
  'unack': '撤销确认', 'snooze': '静默', 'unsnooze': '结束静默', 'resolve': '关闭',
  'severity.critical': '严重', 'severity.error': '错误', 'severity.warning': '警告', 'severity.info': '提示',
  'alert.acknowledged': '{who} 已确认', 'alert.snoozed': '{who} 已静默', 'alert.resolved': '已解除', 'alert.until': '至 {at}', 'alert.until.next': '直到再次发生', 'alert.job': '任务', 'alert.history': '经过',
  'resolution.succeeded': '有一次执行成功', 'resolution.ran': '触发已执行', 'resolution.ended': '执行已结束', 'resolution.recovered': '已恢复正常', 'resolution.removed': '任务已删除', 'resolution.paused': '任务已暂停', 'resolution.rule': '已无规则适用', 'resolution.by_hand': '手动关闭',
  'alerts.count': '{n} 条告警', 'alerts.cut': '{n} / {m} 条告警', 'alerts.more': '显示更多', 'alerts.all': '此任务的全部告警', 'alerts.none': '没有需要关注的事项。', 'alerts.none.match': '没有符合条件的告警。',
  'alerts.watched': '告警涵盖：执行失败或丢失、错过触发、延迟启动、耗时超过平时或没有动静的执行，以及存储、插件和队列的异常。',
  'alerts.off': '未启用告警', 'alerts.off.text': '告警会指出哪些任务失败、延迟启动或耗时过长，并通知相关人员。只需启用 alerts 插件，无需其他设置。请在配置文件中加入以下内容，然后重启内核：', 'alerts.off.more': '监控范围及修改方法见',
  'alert.state.open': '未解除', 'alert.state.firing': '待处理', 'alert.state.acknowledged': '已确认', 'alert.state.snoozed': '已静默', 'alert.state.resolved': '已解除', 'alert.kinds': '全部类型', 'alert.of.job': '任务 ID', 'alert.one': '告警', 'alert.note': '备注',
  'ack.all': '全部确认（{n}）', 'snooze.all': '全部静默', 'ack.text': '告警仍未解除，但不再重复通知；起因消失后自动解除。', 'ack.dismiss': '保持原状', 'snooze.text': '在此之前不通知任何人；之后若仍未解除，会再次告警。', 'resolve.text': '立即结束此告警。若再次发生，会产生新的告警。', 'resolve.dismiss': '保持未解除',
  'alert.ask.ack': '确认这 {n} 条告警？', 'alert.ask.snooze': '静默这 {n} 条告警？', 'alert.ask.resolve': '关闭这 {n} 条告警？',
  'alert.done.ack': '已确认 {n} 条告警。', 'alert.done.snooze': '已静默 {n} 条告警。', 'alert.done.resolve': '已关闭 {n} 条告警。',
  'until': '期限', 'until.resolved': '直到解除', 'until.next': '直到再次发生', 'until.hours': '{t}', 'until.time': '指定时间', 'until.at': '时间', 'hours': '{n} 小时', 'days': '{n} 天',
  'change.opened': '产生', 'change.repeated': '再次发生', 'change.acknowledged': '确认', 'change.unacknowledged': '撤销确认', 'change.snoozed': '静默', 'change.unsnoozed': '结束静默', 'change.resolved': '解除',
  'notify': '浏览器通知', 'notify.many': '{n} 条新告警', 'notify.denied': '浏览器不允许此页面发送通知，请在浏览器设置中允许。', 'notify.insecure': '浏览器通知需要 HTTPS。',

  // Lists: queries, columns, saved views, files, acts on all that match.
  'runs.search': '搜索错误，或输入 tag:etl status:failed late>1m', 'runs.any.late': '不限延迟', 'runs.late': '延迟超过 {t}', 'col.late': '延迟',
  'query.suggestions': '输入建议', 'query.status': '执行结果，或正在执行', 'query.job': '任务 ID，* 代表任意字符', 'query.tag': '任务的标签', 'query.by': '由谁触发', 'query.manual': '手动触发，或定时触发', 'query.label': '这次执行的标签', 'query.late': '比预定时间晚多久开始', 'query.duration': '耗时多久', 'query.since': '在此之后开始', 'query.until': '在此之前开始', 'query.owner': '任务的所有者', 'query.origin': '任务在哪里定义',
  'list.columns': '显示的列', 'list.sort': '排序方式', 'list.dense': '紧凑行距',
  'views': '视图', 'views.none': '还没有为这个列表保存视图。', 'views.name': '视图名称', 'views.save': '保存视图', 'views.saved': '视图“{name}”已保存在此浏览器中。', 'views.link': '复制“{name}”的链接', 'views.forget': '删除“{name}”', 'views.brought': '这个链接打开的是视图“{name}”。', 'views.ignore': '不保存',
  'download': '下载', 'download.all': '下载此列表的全部 {n} 行，不只是当前显示的部分。', 'download.csv': 'CSV', 'download.ndjson': 'JSON Lines',
  'all.matches': '符合条件的共 {n} 次：', 'retry.all': '重新执行', 'retry.all.none': '符合条件的执行都还没有结束。', 'retry.all.ask': '重新执行这 {n} 次？', 'retry.all.text': '每个任务都会用当时的参数和标签再执行一次。已暂停的任务保持暂停。', 'retry.all.do': '重新执行 {n} 次', 'done.retry.all': '已启动 {n} 次执行。',
  'jobs.search': '查找任务', 'jobs.active': '启用', 'jobs.paused': '已暂停', 'jobs.failing': '失败中', 'jobs.running': '执行中', 'jobs.none': '没有符合条件的任务。', 'jobs.tag': '标签', 'jobs.tag.all': '全部标签', 'runs.any.job': '全部任务', 'runs.any.by': '全部触发方式', 'runs.any.time': '全部时间', 'runs.since': '时间范围', 'runs.last': '最近 {t}', 'runs.none': '没有符合条件的执行记录。', 'runs.more': '加载更多', 'runs.news': '{n} 条新记录', 'runs.label.any': '不再只显示带标签 {label} 的执行', 'filters.clear': '清除筛选', 'link.copy': '复制链接', 'link.rolling': '滚动：时间范围随当前时间移动', 'link.fixed': '固定：就是这一段时间', 'link.copied': '链接已复制。', 'select': '选择 {j}', 'select.all': '选择全部 {n} 个', 'selected': '已选 {n} 个',
};

/** Sentences of explanations, which the server words in English, and words in them. @type {Record<string, string>} */
export const zhExplained = {
  // Explanations: when a job is due, and what its schedule is
  'was_due': '{job} 的计划触发时间是 {due_at}。', 'is_due': '{job} 将于 {due_at} 触发。', 'last_fire': '{job} 最近一次触发的计划时间是 {due_at}。', 'no_fire_yet': '{job} 尚未触发过。',
  'next_fire_was': '下一次触发的计划时间是 {due_at}，已经过去。', 'next_fire_is': '下一次触发将在 {due_at}。', 'none_follows': '之后不再触发：其计划（{schedule}）已经结束。', 'schedule_over': '之后不再触发：计划已经结束。',
  'fire_of_day': '{due_at}：', 'more_fires': '当天还有 {count} 次触发；可按时间逐一查询。', 'no_fire_on': '{day} 没有触发', 'no_fire_at': '{asked_at} 没有触发', 'no_fire_at_wall': '{wall} 没有触发',
  'log_has': '日志显示：{what}。{schedule}', 'job_has': '{job} 在 {what}。{schedule}', 'fires_unknown': '无法计算其触发时间：{problem}。', 'runs_after': '该任务没有计划：它在 {jobs} 之后执行。', 'only_triggered': '该任务没有计划：仅在手动触发时执行。', 'schedule_is': '其计划是：{schedule}。',
  'fire_before': '前一次触发在 {due_at}（{fate}）。', 'fire_after_was': '后一次触发的计划时间是 {due_at}。', 'fire_after_is': '后一次触发将在 {due_at}。',
  'removed_without': '{job} 已于 {removed_at} 由 {who} 删除，因此没有触发。', 'removed_for_good': '{job} 已于 {removed_at} 由 {who} 删除，因此不再触发。', 'added': '{job} 于 {added_at} 由 {who} 添加，此前没有触发。', 'added_again': '{job} 于 {added_at} 由 {who} 再次添加，此前没有触发。',
  'due_before_added': '{job} 的计划触发时间是 {due_at}，但任务到 {added_at} 才添加。', 'changed_since': '这一计划沿用到 {until_at}，之后由 {who} 修改。', 'counted_from': '触发时间从 {anchor_at} 起算。', 'paused_since': '该任务自 {since_at} 起由 {who} 暂停。', 'who': '{actor}[（{why}）]', 'someone': '某人[（{why}）]',
  // Clocks
  'clock_behind': '本机时钟比日志中最新的事件（{newest_at}）慢 {behind_s}：在时钟追上之前，任务可能不会触发。请校准时钟，或等待。', 'note': '请注意：{change}。', 'clocks_forward': '{day} {zone} 的时钟从 {first} 拨快到 {then}（{before} 变为 {after}）', 'clocks_back': '{day} {zone} 的时钟从 {first} 拨慢到 {then}（{before} 变为 {after}）',
  'never_shown': '当天的时钟不会走到 {wall}：{change}。', 'twice': '{wall} 当天出现两次：{change}。', 'twice_first': '{wall} 出现两次，因为{change}。这是第一次，该计划{rule}。', 'twice_second': '{wall} 出现两次，因为{change}。这是第二次，该计划{rule}。', 'in_first_pass': '只在第一次触发', 'in_both_passes': '两次都会触发',
  'fixed_first_pass': '该计划使用固定的时刻，因此只在第一次触发。', 'fixed_in_gap': '该计划使用固定的时刻：被时钟跳过的时刻会在跳过之后的第一刻（{first_at}）合并触发一次。', 'gap_here': '被时钟跳过的固定时刻会在跳过之后的第一刻触发，也就是这一刻。', 'elapsed_in_gap': '该计划按经过的时间计算，因此不会在被时钟跳过的时刻触发。',
  'future_fire_interval': '日志中有一次未来的触发（{newest_at}）：时钟之后被拨回，或当时不准。间隔任务会从那次触发继续。', 'future_fire': '日志中有一次未来的触发（{newest_at}）：时钟之后被拨回，或当时不准。在时钟超过该时间之前，任务不会触发。',
  // How a run began and ended
  'retried': '随后重试：第 {attempt} 次尝试是执行 {run}。', 'ran_at_once': '它立即执行：于 {started_at} 开始（执行 {run}）。', 'ran_on_time': '它准时执行：于 {started_at} 开始（执行 {run}）。', 'ran_after': '它于 {started_at} 开始（执行 {run}），在任务 {job} 的执行 {other} 于 {ended_at} 成功之后。',
  'ran_after_trigger': '它在触发 {late_s} 后执行：于 {started_at} 开始（执行 {run}）。', 'ran_late': '它延迟了 {late_s} 才执行：于 {started_at} 开始（执行 {run}）。', 'accepted': '它已于 {accepted_at} 受理，尚未开始（执行 {run}）。',
  'succeeded': '它[在 {took_s} 后]成功结束。', 'run_failed': '它[在 {took_s} 后]失败（{reason}）：{error}。', 'last_attempt': '没有再次重试：这是 {attempts} 次尝试中的最后一次。', 'no_retries': '没有再次重试：该任务未设置重试。', 'snoozed': '它[在 {took_s} 后]推迟到 {until_at}[：{why}]。由执行 {next} 接替。',
  'cancelled': '它[在 {took_s} 后]被[ {actor} ]终止[：{why}]。', 'cancelled_before': '它在开始之前被[ {actor} ]终止[：{why}]。', 'running': '它仍在执行。', 'stopping': '它仍在执行；已被[ {actor} ]请求停止[：{why}]，但尚未停止。', 'late_result': '其代码继续运行，并于 {reported_at} 上报“{result}”：此结果不计入。',
  // Why it was late, or did not run
  'the_job': '该任务', 'job_named': '任务 {job}', 'subject_paused': '到触发时间时，{subject}已暂停：{period}。', 'held_when_due': '到触发时间时，全部触发已暂停：{period}。', 'from_to': '自 {since_at} 至 {until_at}，操作者 {who}', 'since': '自 {since_at} 起，操作者 {who}',
  'no_kernel_when_due': '到触发时间时没有内核在运行：{silence}。', 'no_kernel_for_a_time': '有一段时间没有内核在运行：{silence}。', 'no_kernel': '没有内核在运行：{silence}。', 'stopped': '内核于 {since_at} 停止（{stopped}）', 'ended_without_stop': '内核未正常停止就已终止，其最后一个事件在 {since_at}', 'next_started': '{before}；下一个内核于 {until_at} 在 {node} 上启动',
  'silent_since': '自 {since_at} 起日志中没有任何记录', 'silent_always': '日志中从未有任何记录', 'silent_between': '{since_at} 至 {until_at} 之间日志中没有任何记录', 'silent_until': '{until_at} 之前日志中没有任何记录',
  'blocked_loop': '内核到 {decided_at} 才处理它：其事件循环被阻塞了 {blocked_s}。{behind}', 'held_up': '内核到 {decided_at} 才处理它：{detail}。', 'clock_jump': '时钟从 {from_at} 一下跳到 {to_at}：时钟被拨快，或机器曾休眠。', 'unprocessed': '内核到 {decided_at} 才处理它。日志没有说明原因：既没有进程暂停的记录，也没有事件循环阻塞的记录。',
  'follows_later': '{subject}跟随任务 {job}，后者因抖动晚了 {later_s}，在 {due_at} 触发。', 'follows': '{subject}跟随任务 {job}，后者也在那时触发。', 'logged_since': '日志自 {since_at} 起有那次触发的记录。',
  'run_missed': '它没有执行：已错过（{reason}），记录于 {recorded_at}。', 'guard_refused': '守卫规则拒绝了它：{detail}。', 'kernel_says': '内核的说明：{detail}。', 'one_of_range': '它是 {first_at} 至 {last_at} 之间一并错过的 {count} 次触发之一[（catch_up = {catch_up}）]。', 'job_paused': '任务已暂停：{period}。', 'all_held': '全部触发已暂停：{period}。',
  // What is to come
  'due_in': '距触发还有 {left_s}。', 'skipped': '它不会执行：{actor} 已跳过这次触发[（{why}）]。', 'skipped_by_operator': '它不会执行：操作员已跳过这次触发[（{why}）]。', 'is_paused': '任务已暂停（{period}）', 'is_held': '全部触发已暂停（{period}）', 'both_facts': '{first}，{then}', 'resumed': '恢复任务', 'released': '恢复触发', 'both_ends': '{first}并{then}',
  'unless': '{held}：除非{free}，否则它不会执行。', 'held_back': '它尚未执行。{held}：{free}之前会一直等待。', 'undecided': '它尚未执行：还没有内核对它作出决定，{sign}。是否有内核在运行？', 'undecided_stopped': '它尚未执行：还没有内核对它作出决定，{sign}。', 'last_event': '日志中最后一个事件在 {last_at}', 'log_empty': '日志是空的',
  'pruned': '日志中已没有它的结果：{pruned_at} 之前的事件已被清理。', 'no_outcome': '日志中没有它的结果，却有之后一次触发的结果：请运行 `gnomon audit`。',
  // What it waits for
  'waits_snoozed': '它要等到 {until_at}，因为前一次执行已推迟。', 'waits_retry': '它按重试策略等到 {until_at}。', 'waits_for': '它在等待{what}。', 'and_for': '{first}，以及{then}', 'dep_paused': '任务 {job}（已暂停）', 'dep_undecided': '任务 {job}（尚未对该时间作出决定）', 'dep_running': '任务 {job} 的执行 {run}[（第 {attempt} 次尝试）]，它于 {started_at} 开始，仍在执行', 'dep_waits': '任务 {job} 的执行 {run}[（第 {attempt} 次尝试）]，它自己也在等待[，直到 {until_at}]', 'dep_ended': '任务 {job} 的执行 {run}[（第 {attempt} 次尝试）]，它已结束：{fate}',
  'group_slot': '它在等待组 {group} 的槽位：{limit} 个中已占用 {taken} 个，占用者是{runs}[ 等，另有 {more} 个]。', 'run_of_job': '任务 {job} 的执行 {run}', 'and_run': '{first}、{then}', 'group_rate': '它在等待组 {group} 的速率限制：{rate} 已用完。', 'waits_slot': '它在等待空闲槽位，或等待内核启动它。',
  'behind_running': '它在等待同一任务的执行 {run}，后者于 {started_at} 开始，仍在执行。', 'behind_handed': '它在等待同一任务的执行 {run}，后者于 {handed_at} 移交给{queue}，尚无工作进程开始执行。', 'waited_detail': '它等待了 {waited_s}：{detail}。', 'waited_rate': '它因组 {group} 的速率限制（{rate}）等待了 {waited_s}。', 'waited_resumed': '它等待了 {waited_s}，之后由刚启动的内核继续。', 'waited_for': '它等待了 {waited_s}，等的是{what}。{behind}', 'kernel_slot': '空闲槽位（执行数已达到 max_running）', 'other_run': '同一任务的另一次执行结束', 'slot_of_group': '组 {group} 的槽位',
  'behind_gone': '那次执行已不在日志中。', 'behind_missed': '那是[任务 {job} 的]执行 {run}，已于 {ended_at} 错过。', 'behind_ended': '那是[任务 {job} 的]执行 {run}，于 {started_at} 开始，于 {ended_at} 结束（{fate}）。', 'behind_active': '那是[任务 {job} 的]执行 {run}，于 {started_at} 开始，目前{fate}。',
  // Queues elsewhere
  'queue_named': '队列 {queue}', 'runner_named': '执行器 {runner}', 'handed_waiting': '它于 {handed_at} 移交给{queue}，尚无工作进程开始执行。', 'handed_unbegun': '它于 {handed_at} 移交给{queue}，但没有工作进程开始执行。', 'handed_begun': '它于 {handed_at} 移交给{queue}，{worker} 在 {waited_s} 后于 {began_at} 开始执行[，代码版本 {code}]。', 'warned': '{text}。', 'queue_still': '队列自 {since_at} 起停滞：{why}。', 'queue_was_still': '队列在 {since_at} 至 {until_at} 之间停滞：{why}。',
  // Runs that no fire made
  'imported': '执行 {run} 来自 {source} 的记录：计划时间是 {due_at}，{end}。它不是由内核决定的，因此日志中没有更多信息。', 'it_succeeded': '[在 {took_s} 后]成功', 'it_failed': '[在 {took_s} 后]失败（{reason}）：{error}', 'it_was_missed': '已错过[：{detail}]', 'it_was_cancelled': '[在 {took_s} 后]被终止', 'it_is_running': '正在执行', 'it_has_not_started': '尚未开始', 'more_imported': '还有 {count} 次导入的执行；可按时间逐一查询。',
  'by_backfill': '执行 {run} 由[ {actor} 的]补跑产生，对应 {due_at} 的触发。', 'at_start': '执行 {run} 在内核启动时产生，时间是 {due_at}。', 'triggered': '{job} 的执行 {run} 于 {due_at}[ 由 {by} ]触发。', 'triggered_forced': '{job} 的执行 {run} 于 {due_at}[ 由 {by} ]触发，并跳过了守卫规则。', 'pruned_run': '执行 {run}（已被清理）', 'triggered_by_run': '执行 {run} 于 {due_at} 由{by}触发。{end}',
  'only_failed': '它[在 {took_s} 后]失败（{reason}）。', 'only_running': '它正在执行。', 'only_missed': '它已错过（{reason}）。', 'only_cancelled': '它已被终止。', 'only_waits': '它在等待[；最早可于 {from_at} 开始]。', 'only_snoozed': '它[在 {took_s} 后]推迟到 {until_at}，由执行 {next} 接替。', 'more_triggered': '还有 {count} 次由其他执行触发的执行；可按时间逐一查询。',
  'hidden': '部分原因涉及此令牌无权查看的另一个任务。',

 
  'fate.held_back': '一直等待', 'fate.undecided': '尚未决定', 'fate.to_come': '尚未到时间', 'fate.no_outcome': '没有结果', 'fate.forgotten': '已被清理',
};
